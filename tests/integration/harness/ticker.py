# SPDX-License-Identifier: BSD-2-Clause
"""A row that changes all the time, to tell how old what is made of it is."""
import threading
import time


# For so long a busy machine may keep a reader from running, and it looks at what came in time only
# then. That no response left too late, be it by less, is for leeway_budget_exceeded_total to say.
READER_DELAY_S = 0.05


class Ticker:
    """Counts a row up every 20 ms, and knows since when each number has been the past."""

    def __init__(self, stack):
        stack.sql("create table tick as select 0 as n")
        self.connection = stack.postgres.connect(stack.database)
        self.past_since = {}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with self.connection.cursor() as cursor:
            number = 0
            while not self.stopping.wait(0.02):
                cursor.execute("update tick set n = n + 1")
                self.past_since[number] = time.time()
                number += 1

    def stop(self):
        self.stopping.set()
        self.thread.join()
        self.connection.close()

    def lag(self, body, moment):
        """By how much a body with `n` and `asked`, the time of its query, is behind at `moment`."""
        return max(moment - body["asked"], moment - self.past_since.get(body["n"], moment))
