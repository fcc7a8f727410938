// PostgreSQL through a tunnel, with the driver `pg`: it takes any stream.
// SLUICE_URL=wss://tunnel.example SLUICE_TOKEN=… node examples/clients/postgres.mjs db:5432
import pg from 'pg'
import { connect } from 'sluice/node'

const [host, port] = process.argv[2].split(':')
const tunnel = await connect(process.env.SLUICE_URL, { token: process.env.SLUICE_TOKEN })
const stream = () => tunnel.createConnection({ host, port: Number(port) })
const client = new pg.Client({ stream, user: process.env.PGUSER ?? 'postgres', database: 'postgres', host })
await client.connect()
const { rows } = await client.query("select 6 * 7 as answer, repeat('x', 5000000) as big")
console.log(`answer ${rows[0].answer}, ${rows[0].big.length} bytes`)
await client.end()
await tunnel.close()
