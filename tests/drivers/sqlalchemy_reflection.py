"""SQLAlchemy reads the schema back: what it finds is printed, and must be the same on Postgres and on shardd."""

import os

import sqlalchemy
from sqlalchemy import MetaData, create_engine, inspect


def own(name):
    """On Postgres shards the tables of the HTTP door's entries are seen, too."""
    return not name.startswith("shardd_")


def describe(engine):
    inspector = inspect(engine)
    # On Postgres shards' servers there is one more, for what shardd decides about commits.
    schemas = sorted(set(inspector.get_schema_names()) - {"shardd"})
    print("schemas", schemas, inspector.default_schema_name)
    print("sequences", sorted(filter(own, inspector.get_sequence_names())))
    print("views", inspector.get_view_names(), inspector.get_materialized_view_names())
    print("enums", inspector.get_enums(), inspector.get_domains())
    for table in sorted(filter(own, inspector.get_table_names())):
        print(table, inspector.has_table(table), inspector.has_table(table, schema="public"))
        for column in inspector.get_columns(table):
            column["type"] = repr(column["type"])
            # Ids of a sharded table step over those of the other shards.
            column.pop("identity", None)
            print("  column", sorted(column.items(), key=lambda item: item[0]))
        print("  primary key", inspector.get_pk_constraint(table))
        print("  foreign keys", sorted(inspector.get_foreign_keys(table), key=lambda key: key["name"]))
        print("  unique", sorted(inspector.get_unique_constraints(table), key=lambda key: key["name"]))
        print("  checks", sorted(inspector.get_check_constraints(table), key=lambda check: check["name"]))
        print("  indexes", sorted(inspector.get_indexes(table), key=lambda index: index["name"]))
        print("  comment", inspector.get_table_comment(table))
    print("missing", inspector.has_table("nothing"))


def reflect(engine):
    metadata = MetaData()
    metadata.reflect(bind=engine, only=lambda name, _: own(name))
    for table in sorted(metadata.tables.values(), key=lambda table: table.name):
        defaults = [column.server_default and str(column.server_default.arg) for column in table.columns]
        print(table.name, [column.name for column in table.columns], defaults)


def main():
    url = os.environ["DATABASE_URL"].replace("postgres://", "postgresql+psycopg://")
    engine = create_engine(url)
    describe(engine)
    reflect(engine)
    with engine.connect() as connection:
        print(connection.execute(sqlalchemy.text("SELECT count(*) FROM seats")).scalar())
    print("flow complete")


main()
