"""Runs one query with the Python client, and says on standard output what happens, as lines of JSON.

A line has one of: `id`, the query, once it is known; `rows`, how many have come so far, after each page that has any;
`retry`, what went wrong with a request that the client sends again; and at the end `result`, all rows, or `error`.
"""

import argparse
import json
import sys

import requests
import trino


def say(**event):
    json.dump(event, sys.stdout, default=str)
    sys.stdout.write("\n")
    sys.stdout.flush()


class TellingSession(requests.Session):
    """A session that says what goes wrong, and leaves it to the client to try again."""

    def request(self, method, url, **arguments):
        try:
            response = super().request(method, url, **arguments)
        except requests.RequestException as error:
            say(retry=f"{method} {type(error).__name__}: {error}")
            raise
        if not response.ok:
            say(retry=f"{method} {response.status_code}: {response.text[:200]}")
        return response


class Progress:
    """What the pages of a query say, told once each."""

    def __init__(self):
        self.id = None
        self.rows = 0
        self.pages = set()

    def watch(self, response, *_arguments, **_more):
        if not response.ok or not response.content or response.url in self.pages:
            return
        page = response.json()
        if self.id is None and "id" in page:
            self.id = page["id"]
            say(id=self.id)
        if page.get("data"):
            self.pages.add(response.url)
            self.rows += len(page["data"])
            say(rows=self.rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-attempts", type=int, required=True)
    parser.add_argument("--request-timeout", type=float, required=True)
    arguments = parser.parse_args()
    session = TellingSession()
    session.hooks["response"].append(Progress().watch)
    connection = trino.dbapi.connect(
        host=arguments.host,
        port=arguments.port,
        user="chaos",
        catalog="tpch",
        schema="sf1",
        http_session=session,
        max_attempts=arguments.max_attempts,
        request_timeout=arguments.request_timeout,
    )
    cursor = connection.cursor()
    try:
        cursor.execute(sys.stdin.read())
        say(result=cursor.fetchall())
    except Exception as error:  # whatever it is, it is what a user of the client would see
        say(error=f"{type(error).__name__}: {error}")


main()
