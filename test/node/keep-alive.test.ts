import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { it } from 'node:test'
import { connectTo, listen, until } from '../helpers/net.js'
import { startSessionRig } from '../helpers/session-rig.js'

const TABLE = '/proc/net/tcp'
/** In ticks of 10 ms: what a connection may be silent before the system asks whether its peer is there. */
const MOST = 60 * 100
const KEEPALIVE_TIMER = '02'

/** The timers of established connections with this local, or remote, port. */
function timers(end: 'local' | 'remote', port: number): string[] {
  return readFileSync(TABLE, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, remote, state]) => {
      return state === '01' && Number.parseInt((end === 'local' ? local : remote)!.split(':')[1]!, 16) === port
    })
    .map((fields) => fields[5]!)
}

it('every TCP connection of ours is asked after a minute of silence whether its peer is there', {
  skip: !existsSync(TABLE) && `there is no ${TABLE}`,
}, async () => {
  const target = await listen((socket) => socket.pipe(socket))
  const rig = await startSessionRig(target.port)
  const socket = await connectTo(rig.port)
  socket.write('x')
  await until(() => socket.bytesRead > 0, 'the echo')
  for (const [name, end, port] of [
    ['accepted by the client', 'local', rig.port],
    ['accepted by the server', 'local', rig.serverPort],
    ['to the target', 'remote', target.port],
    ['to the server', 'remote', rig.relay.port],
  ] as const) {
    const running = () => timers(end, port).every((timer) => timer.startsWith(KEEPALIVE_TIMER))
    await until(() => timers(end, port).length > 0 && running(), `the timer of the connection ${name}`)
    for (const timer of timers(end, port))
      assert.ok(Number.parseInt(timer.split(':')[1]!, 16) <= MOST, `${name}: ${timer}`)
  }
  socket.destroy()
  await rig.close()
  await target.close()
})
