import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseServerUrl } from '#src/config/index.js'
import { ClientLink, type Way } from '#src/link/index.js'
import { nodeHost, openWebSocket, PARAMETERS, SESSION_PROTOCOL, WebSocketCarrier } from '#src/node/index.js'
import { TokenAuth } from '#src/server/index.js'
import { until } from '../helpers/net.js'
import { startServer, TOKEN } from '../helpers/rig.js'

describe('the kinds of carriers', () => {
  it('a second WebSocket that is slow to come is waited for: the session stays on WebSocket', async () => {
    const auth = new TokenAuth([{ name: 'ann', token: TOKEN }])
    const { server, bound } = await startServer({ auth })
    const url = parseServerUrl(`ws://127.0.0.1:${bound.port}`)
    const tried: Way[] = []
    const link = new ClientLink({
      host: nodeHost,
      parameters: PARAMETERS,
      carriers: 2,
      ways: ['websocket', 'stream'],
      open: async (way) => {
        tried.push(way)
        // As on a line that has lost the first SYN: longer than the head start of the best kind.
        if (tried.length > 1) await sleep(1_000)
        const { ws } = await openWebSocket(url, '/', { token: TOKEN, protocols: [SESSION_PROTOCOL] })
        return new WebSocketCarrier(ws)
      },
    })
    await link.connect()
    await until(() => link.session?.carriers.length === 2, 'the second')
    assert.deepEqual(tried, ['websocket', 'websocket'])
    link.abort('done')
    await server.close(0)
  })
})
