"""What tests have done in Dask's worker processes, which import it by this name."""

import os
import signal
import threading

import fastlsm


def kill_one_worker(block, flag, block_id):
    """Kills its process, once."""
    if block_id == (1, 3):
        try:
            os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return block
        os.kill(os.getpid(), signal.SIGKILL)
    return block


def limits():
    return os.getpid(), fastlsm.get_num_threads(), threading.active_count()
