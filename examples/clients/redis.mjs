// Redis through a tunnel, with the client `ioredis`: it takes a connector that makes streams.
// SLUICE_URL=wss://tunnel.example SLUICE_TOKEN=… node examples/clients/redis.mjs redis:6379
import { Redis } from 'ioredis'
import { connect } from 'sluice/node'

const [host, port] = process.argv[2].split(':')
const tunnel = await connect(process.env.SLUICE_URL, { token: process.env.SLUICE_TOKEN })

class TunnelConnector {
  connect() {
    this.stream = tunnel.createConnection({ host, port: Number(port) })
    return Promise.resolve(this.stream)
  }
  disconnect() {
    this.stream?.end()
  }
  check() {
    return true
  }
}

const redis = new Redis({ Connector: TunnelConnector })
const value = Buffer.alloc(1_000_000, 0xfe)
await redis.set('sluice', value)
const got = await redis.getBuffer('sluice')
console.log(`answer ${await redis.incrby('sluice-answer', 42)}, ${got.equals(value) ? got.length : 'wrong'} bytes`)
await redis.del('sluice', 'sluice-answer')
await redis.quit()
await tunnel.close()
