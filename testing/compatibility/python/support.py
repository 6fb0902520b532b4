"""What the suites share: clusters, connections whose pages are checked, and waiting."""

import json
import os
import pathlib
import time
import unittest

import requests
import trino

import strict_decoder

CLUSTERS = json.loads(os.environ["STEADFAST_CLUSTERS"])
CLEAN_WITHIN_SECONDS = 5.0


class Cluster:
    """A cluster that runs, as the process that started it describes it."""

    def __init__(self, name):
        description = CLUSTERS[name]
        self.server = description["server"]
        self.process_id = description["coordinator_process_id"]
        self.places = [pathlib.Path(place) for place in description["places_to_be_clean"]]

    def connect(self, **arguments):
        """A connection to `tpch.tiny`; every page it gets is checked as the Java client would."""
        session = requests.Session()
        session.hooks["response"].append(strict_decoder.check_response)
        host, port = self.server.removeprefix("http://").split(":")
        arguments = {"user": "python", "catalog": "tpch", "schema": "tiny", "http_session": session, **arguments}
        return trino.dbapi.connect(host=host, port=int(port), **arguments)

    def document(self, path):
        """A document of the server."""
        response = requests.get(self.server + path, timeout=10)
        response.raise_for_status()
        return response.json()

    def delete(self, path):
        """Asks the server to end something."""
        requests.delete(self.server + path, timeout=10).raise_for_status()

    def put(self, path, body):
        """What the server answers to a `PUT`."""
        return requests.put(self.server + path, data=body, timeout=10)

    def resident_bytes(self):
        """The memory that the coordinator has now."""
        for line in pathlib.Path(f"/proc/{self.process_id}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no VmRSS of process {self.process_id}")

    def files_left(self):
        """The files of queries, in the exchange and where workers spill. Who leads stays on record."""
        found = []
        for place in self.places:
            # Directories may go while this looks; os.walk takes those for empty.
            for directory, directories, files in os.walk(place):
                if pathlib.Path(directory) == place and "coordinator" in directories:
                    directories.remove("coordinator")
                found.extend(pathlib.Path(directory, name) for name in files)
        return found


class Case(unittest.TestCase):
    """A test against a cluster."""

    cluster = Cluster("usual")
    maxDiff = None

    def connect(self, **arguments):
        connection = self.cluster.connect(**arguments)
        self.addCleanup(connection.close)
        return connection

    def rows(self, sql, params=None, connection=None):
        """All rows of a statement, as lists."""
        cursor = (connection or self.connect()).cursor()
        cursor.execute(sql, params)
        return [list(row) for row in cursor.fetchall()]

    def value(self, sql, params=None, connection=None):
        """The only value of a statement."""
        rows = self.rows(sql, params, connection)
        self.assertEqual([len(row) for row in rows], [1], sql)
        return rows[0][0]

    def failure(self, sql, kind=trino.exceptions.TrinoUserError, connection=None):
        """The error of a statement that must fail."""
        with self.assertRaises(kind, msg=sql) as raised:
            self.rows(sql, connection=connection)
        return raised.exception

    def wait(self, within_seconds, look):
        """Waits until `look` gives something that is true, and returns it."""
        deadline = time.monotonic() + within_seconds
        while True:
            found = look()
            if found:
                return found
            if time.monotonic() > deadline:
                self.fail(f"not within {within_seconds} s")
            time.sleep(0.02)

    def assert_clean(self, within_seconds=CLEAN_WITHIN_SECONDS):
        """Nothing is left of queries that have ended."""
        try:
            self.wait(within_seconds, lambda: not self.cluster.files_left())
        except self.failureException:
            self.fail(f"left behind: {self.cluster.files_left()}")
