// node-postgres over TLS: the channel bound and not, and a client certificate.

import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import assert from 'node:assert'

const require = createRequire(process.env.SHARDD_NODE_MODULES + '/')
const { Client } = require('pg')

const env = process.env
const ca = readFileSync(env.TLS_ROOT, 'utf8')
const base = {
  host: 'localhost',
  port: Number(env.PGPORT),
  user: 'app',
  password: 'secret',
  database: env.PGDATABASE,
  ssl: { ca },
}

async function answers(changes) {
  const client = new Client({ ...base, ...changes })
  await client.connect()
  try {
    const { rows } = await client.query("SELECT n, repeat('x', 300) AS text FROM generate_series(1, 5000) AS t (n)")
    assert.equal(rows.length, 5000)
    assert.equal(rows[4999].text, 'x'.repeat(300))
    const long = await client.query('SELECT length($1::text) AS length', ['y'.repeat(3_000_000)])
    assert.equal(long.rows[0].length, 3_000_000)
  } finally {
    await client.end()
  }
}

await answers({})
await answers({ enableChannelBinding: true })
const certificate = { ca, cert: readFileSync(env.TLS_CERTIFICATE, 'utf8'), key: readFileSync(env.TLS_KEY, 'utf8') }
await answers({ user: 'robot', password: undefined, ssl: certificate })

const refused = [
  [{ password: 'wrong' }, '28P01'],
  [{ user: 'robot', password: undefined }, '28000'],
  [{ ssl: false }, '28000'],
  [{ ssl: { ca: certificate.cert } }, undefined],
]
for (const [changes, code] of refused) {
  const error = await answers(changes).then(() => undefined, (error) => error)
  assert.ok(error, `${JSON.stringify(changes)} got in`)
  if (code) assert.equal(error.code, code, error.message)
}
console.log('flow complete')
