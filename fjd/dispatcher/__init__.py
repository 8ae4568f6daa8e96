"""The dispatcher: decides who runs what.

service     time in office: the lease, the loop, signals
dispatcher  one pass: file what has ended, see who is there and what is new, pair the two
muster      who is there, who is dead, what each one has in hand
pairing     who gets the next job, and how much may wait in a pod (pure)
assigner    looks into a queued job and hands it out
filer       files what has ended, or gives it another try
progress    what is said meanwhile
"""
