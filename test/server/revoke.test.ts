// Credentials that go while something is under way: what a stranger could keep open, or begin, must not be.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { describe, it } from 'node:test'
import { parseServerUrl } from '#src/config/index.js'
import { ClientLink } from '#src/link/index.js'
import { nodeHost, openWebSocket, PARAMETERS, SESSION_PROTOCOL, WebSocketCarrier } from '#src/node/index.js'
import { TokenAuth } from '#src/server/index.js'
import { listen, until } from '../helpers/net.js'
import { clientFrame, handshake } from '../helpers/raw.js'
import { startServer, TOKEN } from '../helpers/rig.js'

describe('revoked while under way', () => {
  it('a plain WebSocket that ignores the Close frame reaches the target no more', async () => {
    let reached = ''
    const target = await listen((socket) => socket.on('data', (bytes) => (reached += bytes.toString())))
    const auth = new TokenAuth([{ name: 'ann', token: TOKEN }])
    const { server, bound } = await startServer({ auth, allow: [`127.0.0.1:${target.port}`] })
    const socket = net.connect(bound.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(handshake(`/tcp/127.0.0.1/${target.port}`))
    await once(socket, 'data')
    socket.write(clientFrame('before'))
    await until(() => reached === 'before', 'the first bytes')
    auth.replace([])
    assert.equal(server.tunnel.recheck(), 1)
    socket.write(clientFrame('after'))
    await until(() => server.tunnel.connections === 0, 'the end')
    assert.equal(reached, 'before')
    socket.destroy()
    await server.close(0)
    await target.close()
  })

  it('a session whose HELLO comes after its token has gone is ended at once', async () => {
    const auth = new TokenAuth([{ name: 'ann', token: TOKEN }])
    const { server, bound } = await startServer({ auth })
    const url = parseServerUrl(`ws://127.0.0.1:${bound.port}`)
    let ended: string | undefined
    const link = new ClientLink({
      host: nodeHost,
      parameters: PARAMETERS,
      events: { ended: (error) => (ended = error?.code ?? 'in good order') },
      open: async () => {
        const { ws } = await openWebSocket(url, '/', { token: TOKEN, protocols: [SESSION_PROTOCOL] })
        auth.replace([])
        assert.equal(server.tunnel.recheck(), 0)
        return new WebSocketCarrier(ws)
      },
    })
    await link.connect()
    await until(() => ended !== undefined, 'the end')
    assert.equal(ended, 'ERR_SLUICE_POLICY')
    assert.equal(server.tunnel.sessions, 0)
    await server.close(0)
  })
})
