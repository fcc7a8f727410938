// SSH through a tunnel, with the client `ssh2`: it takes any stream.
// SLUICE_URL=wss://tunnel.example SLUICE_TOKEN=… SSH_KEY=~/.ssh/id_ed25519 node examples/clients/ssh.mjs host:22
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'sluice/node'
import ssh2 from 'ssh2'

const [host, port] = process.argv[2].split(':')
const tunnel = await connect(process.env.SLUICE_URL, { token: process.env.SLUICE_TOKEN })
const client = new ssh2.Client()
client.connect({
  sock: tunnel.createConnection({ host, port: Number(port) }),
  username: process.env.SSH_USER ?? process.env.USER ?? 'root',
  privateKey: readFileSync(process.env.SSH_KEY),
})
await once(client, 'ready')
const channel = await new Promise((resolve, reject) =>
  client.exec('echo answer $((6 * 7)); head -c 3000000 /dev/zero', (error, stream) =>
    error ? reject(error) : resolve(stream),
  ),
)
let length = 0
let first = ''
channel.on('data', (chunk) => {
  first ||= chunk.toString('latin1').split('\n')[0]
  length += chunk.length
})
await once(channel, 'close')
console.log(`${first}, ${length - first.length - 1} bytes`)
client.end()
await tunnel.close()
