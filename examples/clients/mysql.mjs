// MySQL or MariaDB through a tunnel, with the driver `mysql2`: it takes any stream.
// SLUICE_URL=wss://tunnel.example SLUICE_TOKEN=… node examples/clients/mysql.mjs db:3306
import { createConnection } from 'mysql2/promise'
import { connect } from 'sluice/node'

const [host, port] = process.argv[2].split(':')
const tunnel = await connect(process.env.SLUICE_URL, { token: process.env.SLUICE_TOKEN })
const stream = tunnel.createConnection({ host, port: Number(port) })
const user = process.env.MYSQL_USER ?? 'root'
const connection = await createConnection({ stream, user, password: process.env.MYSQL_PASSWORD ?? '' })
const [rows] = await connection.query("select 6 * 7 as answer, repeat('x', 2000000) as big")
console.log(`answer ${rows[0].answer}, ${rows[0].big.length} bytes`)
await connection.end()
await tunnel.close()
