// A process with many sessions, each of which has the server listen on one port: URL, first port, how many, target port.
import { parseServerUrl } from '#src/config/index.js'
import { ReverseForward, SessionTunnel } from '#src/node/index.js'

const [url = '', first = 0, count = 0, target = 0] = process.argv
  .slice(2)
  .map((text, index) => (index === 0 ? text : Number(text))) as [string, number, number, number]

const fail = (error: unknown) => {
  console.error(error)
  process.exit(1)
}

async function one(port: number): Promise<void> {
  const events = { gone: fail, retrying: fail, renewed: () => {}, failed: fail }
  const tunnel = new SessionTunnel(
    { url: parseServerUrl(url), token: process.env.SLUICE_TOKEN, carriers: 1, transport: 'websocket' },
    events,
  )
  await tunnel.connect()
  await new Promise<void>((resolve) => {
    const reverse = new ReverseForward(
      {
        direction: 'reverse',
        listen: { kind: 'tcp', host: '127.0.0.1', port },
        target: { kind: 'tcp', host: '127.0.0.1', port: target },
      },
      { listening: () => resolve(), refused: fail, failed: (_, error) => fail(error) },
    )
    tunnel.use((link) => {
      link.onOpened = (stream) => reverse.accept(link, stream)
      reverse.attach(link)
    })
  })
}

for (let port = first; port < first + count; port++) await one(port)
console.log(`all ${count} listen`)
