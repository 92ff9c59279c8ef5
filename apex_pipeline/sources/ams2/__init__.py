"""Reads races recorded from the UDP packets of Automobilista 2 and Project CARS 2: bytes in, tables and rejects out.

In order of data flow: ``container`` decompresses a recording, ``framing`` cuts it into datagrams, ``ordering`` restores
their order, ``layouts`` knows their bytes; ``driver``, ``game`` and ``rivals`` take what is needed out of them;
``driving``, ``runs`` and ``lap_times`` decide what a lap is; ``samples`` and ``timing`` make the tables, and
``recording`` runs it all.
"""
