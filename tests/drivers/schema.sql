-- The ticket service's tables: everything that has an event_id is sharded by it; venues are on every shard.
CREATE TABLE venues (
  venue_id int PRIMARY KEY,
  name text NOT NULL,
  city varchar(40),
  details jsonb
);
CREATE TABLE events (
  event_id bigint PRIMARY KEY,
  venue_id int REFERENCES venues (venue_id),
  title text NOT NULL,
  starts_at timestamptz NOT NULL,
  price numeric(10,2) NOT NULL,
  poster bytea,
  public_id uuid,
  on_sale boolean NOT NULL DEFAULT true,
  popularity double precision,
  grade smallint,
  tags jsonb,
  day date,
  doors timestamp
);
CREATE TABLE seats (
  event_id bigint NOT NULL,
  seat_id int NOT NULL,
  status text NOT NULL DEFAULT 'free' CHECK (status IN ('free', 'held', 'sold')),
  hold_id uuid,
  hold_expires_at timestamptz,
  order_id bigint,
  price numeric(10,2),
  version int NOT NULL DEFAULT 0,
  PRIMARY KEY (event_id, seat_id)
);
CREATE TABLE holds (
  event_id bigint NOT NULL REFERENCES events (event_id),
  hold_id uuid NOT NULL,
  customer text NOT NULL,
  seats int NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (event_id, hold_id)
);
CREATE TABLE orders (
  event_id bigint NOT NULL,
  order_id bigserial,
  customer text NOT NULL,
  idempotency_key text NOT NULL,
  total numeric(12,2) NOT NULL,
  placed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (event_id, order_id),
  UNIQUE (event_id, idempotency_key)
);
CREATE INDEX seats_by_status ON seats (event_id, status);
