"""The program that everybody writes first: paho's ``on_message``, one ORM object, one commit. SQLite as it comes.

Prints ``subscribed``; after ``--count`` rows, or ``--seconds``, one JSON line: rows, seconds, CPU seconds.
"""

import argparse
import json
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from sqlalchemy import Float, Integer, String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker


class Base(DeclarativeBase):
    pass


class Reading(Base):
    __tablename__ = "readings"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    device: Mapped[str] = mapped_column(String(64), index=True)
    ts: Mapped[int] = mapped_column(Integer, index=True)
    temperature: Mapped[float] = mapped_column(Float)
    humidity: Mapped[float] = mapped_column(Float)
    pressure: Mapped[float] = mapped_column(Float)
    light: Mapped[float] = mapped_column(Float)
    battery: Mapped[float] = mapped_column(Float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    engine = create_engine(f"sqlite:///{options.database}")
    Base.metadata.create_all(engine)
    make_session = sessionmaker(engine)
    done, times = threading.Event(), list[tuple[float, float]]()

    def on_message(client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        if done.is_set():
            return
        if not times:
            times.append((time.perf_counter(), time.process_time()))
        payload = json.loads(message.payload)
        values = payload["values"]
        with make_session() as session:
            session.add(
                Reading(
                    device=message.topic.split("/")[1],
                    ts=payload["ts"],
                    temperature=values["air_temperature_c"],
                    humidity=values["relative_humidity_pct"],
                    pressure=values["barometric_pressure_hpa"],
                    light=values["illuminance_lux"],
                    battery=values["battery_voltage_v"],
                )
            )
            session.commit()
        times.append((time.perf_counter(), time.process_time()))
        if len(times) > options.count or times[-1][0] - times[0][0] > options.seconds:
            done.set()

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "orm")
    client.on_message = on_message
    client.on_subscribe = lambda *_: print("subscribed", flush=True)
    client.connect("127.0.0.1", options.port)
    client.subscribe("relevo/#", qos=1)
    client.loop_start()
    done.wait(60)
    client.loop_stop()
    client.disconnect()
    (began, cpu_began), (ended, cpu_ended) = times[0], times[-1]
    print(json.dumps({"rows": len(times) - 1, "seconds": ended - began, "cpu_seconds": cpu_ended - cpu_began}))


if __name__ == "__main__":
    main()
