#!/usr/bin/env python3
"""What the guard of a sharded table costs Postgres: pgbench's keyed update without it and with it, in alternation.

Prints the processor microseconds of the whole server for each transaction, medians over the rounds, and the ratio of each guarded form
to none. The forms: the slots as a bitmap in the function's body, and the same behind a WHEN clause of the trigger.

    benches/guard/run.py [--rounds 7] [--seconds 4] [--clients 8]

Needs the Postgres binaries, as benches/proxy does.
"""

import argparse
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "proxy"))
from servers import HOST, ROWS, Servers, run  # noqa: E402

SEED = 0x736861726464
SLOT = f"((hashint8extended({{row}}.id, {SEED}) >> 50) & 16383)::int"
BITMAP = "\\x" + "ff" * 2048


def refuse(row):
    return (
        f"IF get_bit('{BITMAP}'::bytea, {SLOT.format(row=row)}) = 0 THEN "
        "RAISE object_not_in_prerequisite_state USING MESSAGE = 'this row belongs to another shard'; END IF;"
    )


GUARD = (
    "CREATE OR REPLACE FUNCTION guard_kv() RETURNS trigger LANGUAGE plpgsql AS $g$ BEGIN "
    f"IF TG_OP <> 'DELETE' THEN {refuse('NEW')} END IF; IF TG_OP <> 'INSERT' THEN {refuse('OLD')} END IF; RETURN NULL; END $g$;"
)
TRIGGER = "CREATE TRIGGER shardd_guard AFTER INSERT OR UPDATE OR DELETE ON kv FOR EACH ROW {when} EXECUTE FUNCTION guard_kv();"
ALWAYS = "ALTER TABLE kv ENABLE ALWAYS TRIGGER shardd_guard;"
WHEN_TRIGGER = TRIGGER.replace("INSERT OR UPDATE OR DELETE", "UPDATE").format(when="WHEN (OLD.id IS DISTINCT FROM NEW.id OR NEW.v > 0)")
FORMS = {
    "none": "",
    "bitmap in the body": GUARD + TRIGGER.format(when="") + ALWAYS,
    "bitmap in the body, behind WHEN": GUARD + WHEN_TRIGGER + ALWAYS,
}
UPDATE = f"\\set id random(1, {ROWS})\nUPDATE kv SET v = v + 1 WHERE id = :id;\n"


def processor_seconds(pid):
    """Of a server and of its processes that have ended."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    servers = Servers(arguments)
    try:
        port = servers.postgres(0)
        pid = servers.running[-1].pid
        address = ["-h", HOST, "-p", str(port), "-U", "app"]
        script = f"{servers.directory}/update.sql"
        with open(script, "w") as file:
            file.write(UPDATE)
        costs = {form: [] for form in FORMS}
        for _ in range(arguments.rounds):
            for form, statements in FORMS.items():
                reset = "DROP TRIGGER IF EXISTS shardd_guard ON kv; VACUUM kv"
                for statement in reset.split(";"):
                    run(["psql", "-qX", *address, "-d", "tickets", "-c", statement])
                if statements:
                    run(["psql", "-qX", *address, "-d", "tickets", "-c", statements])
                before = processor_seconds(pid)
                output = run(
                    ["pgbench", "-n", *address, "-M", "prepared", "-c", str(arguments.clients), "-j", "1"]
                    + ["-T", str(arguments.seconds), "-f", script, "tickets"]
                )
                done = int(output.split("number of transactions actually processed: ")[1].split()[0].split("/")[0])
                costs[form].append((processor_seconds(pid) - before) / done * 1e6)
        print("| guard | Postgres's processor time for a transaction, us | to none |\n|---|---|---|")
        for form, each in costs.items():
            ratios = [one / none for one, none in zip(each, costs["none"])]
            print(f"| {form} | {statistics.median(each):.1f} | {statistics.median(ratios):.3f} |")
    finally:
        servers.end()


if __name__ == "__main__":
    main()
