"""A map stage of limpid as mapped tasks of Airflow: one task for each part of its shards, and one that publishes the result.

The settings come from the environment of the Airflow worker: LIMPID (the binary), LIMPID_PIPELINE, LIMPID_RUNS and LIMPID_TASKS.
"""

import os
import signal
import subprocess
from datetime import datetime, timedelta

from airflow.exceptions import AirflowException, AirflowFailException
from airflow.sdk import dag, task

LIMPID = os.environ.get("LIMPID", "limpid")
ARGUMENTS = [os.environ.get("LIMPID_PIPELINE", "nightly.toml"), "--runs", os.environ.get("LIMPID_RUNS", "runs")]
TASKS = int(os.environ.get("LIMPID_TASKS", "4"))

# The exit codes are a contract: see docs/scheduling.md.
WORTH_A_RETRY = {74, 75}
RETRIES = {"retries": 3, "retry_delay": timedelta(seconds=int(os.environ.get("LIMPID_RETRY_SECONDS", "60")))}


def limpid(*arguments):
    """Runs limpid; a signal to this task ends it, and it leaves finished shards behind."""
    process = subprocess.Popen([LIMPID, *arguments, "--log", "lines"])
    try:
        code = process.wait()
    except BaseException:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise
    if code in WORTH_A_RETRY:
        raise AirflowException(f"limpid ended with {code}: to be tried again")
    if code != 0:
        raise AirflowFailException(f"limpid ended with {code}: another try would end the same way")


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1)
def limpid_shards():
    @task(**RETRIES)
    def train():
        limpid("run", *ARGUMENTS, "--to", "train", "--lock-timeout", "10m")

    @task(**RETRIES)
    def encode(index):
        limpid("shard", *ARGUMENTS, "--stage", "encode", "--index", str(index), "--of", str(TASKS))

    @task(**RETRIES)
    def commit():
        limpid("commit", *ARGUMENTS, "--stage", "encode", "--lock-timeout", "10m")

    train() >> encode.expand(index=list(range(TASKS))) >> commit()


shards = limpid_shards()

if __name__ == "__main__":
    shards.test()
