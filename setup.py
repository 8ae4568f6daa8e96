"""fjd: file-based job distribution; see README.rst."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="fjd",
    version="1.0.0",
    description="Run ten thousand jobs on every CPU that shares a home directory",
    long_description=Path(__file__).with_name("README.rst").read_text(encoding="utf-8")
    if Path(__file__).with_name("README.rst").exists()
    else "",
    long_description_content_type="text/x-rst",
    license="MIT",
    python_requires=">=3.9",
    packages=find_packages(include=["fjd", "fjd.*"]),
    package_data={"fjd": ["py.typed"]},
    install_requires=["configobj>=5.0.9", "fabric>=3.2", "psutil>=5.9", "watchdog>=4.0"],
    extras_require={
        # pytest 9.2 makes xdist 3.8 ignore the marks of --dist loadgroup (pytest-xdist issue 1386)
        "test": [
            *("docutils", "hypothesis", "mypy", "pytest<9.2", "pytest-timeout", "pytest-xdist"),
            "ruff",
        ],
        "bench": ["hyperqueue"],
    },
    entry_points={
        "console_scripts": [
            "fjd = fjd.scripts.fjd:main",
            "fjd-batch = fjd.scripts.fjd_batch:main",
            "fjd-dispatcher = fjd.scripts.fjd_dispatcher:main",
            "fjd-recruiter = fjd.scripts.fjd_recruiter:main",
            "fjd-worker = fjd.scripts.fjd_worker:main",
        ]
    },
)
