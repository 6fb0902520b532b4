"""Ending queries early."""

import threading

import trino

from support import Case

LONG_QUERY = "SELECT sum(l.extendedprice * o.totalprice) FROM tpch.sf10.lineitem l JOIN tpch.sf10.orders o USING (orderkey)"


class Cancel(Case):
    """What becomes of a query that its user cancels."""

    def start(self):
        """A query that runs, fetched by a thread; the cursor, the thread, and what it ended with."""
        cursor = self.connect().cursor()
        ended = []

        def fetch():
            try:
                cursor.execute(LONG_QUERY)
                ended.append(cursor.fetchall())
            except trino.exceptions.Error as error:
                ended.append(error)

        thread = threading.Thread(target=fetch)
        thread.start()
        self.addCleanup(thread.join)
        return cursor, thread, ended

    def running_query_id(self):
        def look():
            listed = self.cluster.document("/v1/query?state=RUNNING")
            return [query["queryId"] for query in listed if query["query"] == LONG_QUERY]

        return self.wait(30, look)[0]

    def check_canceled(self, query_id):
        document = self.cluster.document(f"/v1/query/{query_id}")
        self.assertEqual(document["state"], "FAILED")
        self.assertEqual(document["errorCode"]["name"], "USER_CANCELED")
        self.assertEqual(document["failureInfo"]["errorInfo"]["code"], 3)
        self.assert_clean()

    def test_a_cursor_cancels_its_query(self):
        cursor, thread, _ended = self.start()
        query_id = self.running_query_id()
        # Before it has an answer it does not know what to cancel.
        self.wait(30, lambda: cursor.query_id)
        # There must be something that can be left behind.
        self.wait(60, self.cluster.files_left)
        cursor.cancel()
        thread.join(30)
        self.assertFalse(thread.is_alive())
        self.check_canceled(query_id)

    def test_a_query_is_cancelled_by_its_id(self):
        _cursor, thread, ended = self.start()
        query_id = self.running_query_id()
        self.cluster.delete(f"/v1/query/{query_id}")
        thread.join(30)
        self.assertIsInstance(ended[0], trino.exceptions.TrinoUserError)
        self.assertEqual((ended[0].error_name, ended[0].error_code), ("USER_CANCELED", 3))
        self.check_canceled(query_id)

    def test_a_query_is_killed_with_a_message(self):
        _cursor, thread, ended = self.start()
        query_id = self.running_query_id()
        self.assertEqual(self.cluster.put(f"/v1/query/{query_id}/killed", "too greedy").status_code, 202)
        thread.join(30)
        self.assertEqual(ended[0].error_name, "ADMINISTRATIVELY_KILLED")
        self.assertEqual(ended[0].message, "Query killed. Message: too greedy")
        self.assertEqual(self.cluster.put(f"/v1/query/{query_id}/killed", "again").status_code, 409)
        self.assert_clean()

    def test_a_limit_of_time_ends_a_query(self):
        connection = self.connect(session_properties={"query_max_execution_time": "1s"})
        with self.assertRaises(trino.exceptions.TrinoQueryError) as raised:
            self.rows(LONG_QUERY, connection=connection)
        self.assertEqual(raised.exception.error_name, "EXCEEDED_TIME_LIMIT")
        self.assertEqual(raised.exception.error_type, "INSUFFICIENT_RESOURCES")
        self.assert_clean()
