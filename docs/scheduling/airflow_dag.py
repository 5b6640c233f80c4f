"""A nightly limpid run in Airflow: skipped without work, retried after temporary failures, failed at once after others.

The paths come from the environment of the Airflow worker: LIMPID (the binary), LIMPID_PIPELINE and LIMPID_RUNS.
"""

import os
import signal
import subprocess
from datetime import datetime, timedelta

from airflow.exceptions import AirflowException, AirflowFailException
from airflow.sdk import dag, task

LIMPID = os.environ.get("LIMPID", "limpid")
ARGUMENTS = [os.environ.get("LIMPID_PIPELINE", "nightly.toml"), "--runs", os.environ.get("LIMPID_RUNS", "runs")]

# The exit codes are a contract: see docs/scheduling.md.
WORK_PENDING = 10
WORTH_A_RETRY = {74, 75}


@dag(schedule="15 2 * * *", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1)
def limpid_nightly():
    @task.short_circuit
    def there_is_work():
        code = subprocess.run([LIMPID, "plan", *ARGUMENTS, "--check"]).returncode
        if code not in (0, WORK_PENDING):
            raise AirflowFailException(f"limpid plan failed with {code}")
        return code == WORK_PENDING

    @task(retries=3, retry_delay=timedelta(seconds=int(os.environ.get("LIMPID_RETRY_SECONDS", "60"))))
    def run():
        process = subprocess.Popen([LIMPID, "run", *ARGUMENTS, "--lock-timeout", "10m", "--log", "lines"])
        try:
            code = process.wait()
        except BaseException:
            # Airflow ends the task: limpid saves a checkpoint, from which the next try resumes.
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
        if code in WORTH_A_RETRY:
            raise AirflowException(f"limpid run ended with {code}: to be tried again")
        if code != 0:
            raise AirflowFailException(f"limpid run ended with {code}: another try would end the same way")

    there_is_work() >> run()


nightly = limpid_nightly()

if __name__ == "__main__":
    nightly.test()
