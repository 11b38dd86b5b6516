"""A follower of ``/stream/dispositivos`` as makers of apps write one: ``python sse_client.py URL [serial]``.

It reads ``data:`` lines and nothing else, filters by serial number on the server, comes back after 2 s and twice as
long each time up to 30 s, and prints a line for each change.
"""

import json
import sys
import time

import requests


def follow(url: str, serial: str) -> None:
    params = {"serial": serial} if serial else {}
    wait = 2
    while True:
        try:
            with requests.get(url, params=params, stream=True, timeout=(5, 60)) as answer:
                answer.raise_for_status()
                print("connected", flush=True)
                wait = 2
                for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
                    if not line or not line.startswith("data:"):
                        continue
                    found = json.loads(line[len("data:") :].strip())
                    if found.get("event") == "device_update":
                        print(json.dumps([found["serial_number"], found["estado"], found["parametros"]]), flush=True)
        except requests.RequestException as error:
            print(f"lost {type(error).__name__}", flush=True)
        time.sleep(wait)
        wait = min(wait * 2, 30)


if __name__ == "__main__":
    follow(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
