// The carrier contract over HTTP: every way, over node:http, fetch and HTTP/2, against the server's end.
import { generate } from 'selfsigned'
import { FetchClient, type HttpClient, type HttpWay, openHttp } from '#src/carriers/index.js'
import { parseServerUrl } from '#src/config/index.js'
import { NodeHttpClient, openHttp2 } from '#src/node/index.js'
import { httpPairWith } from '../helpers/http-pair.js'
import { carrierSuite } from '../suites/carrier.js'

const MAX = 524_288

const open = (client: HttpClient, way: HttpWay) =>
  openHttp(client, { way, route: undefined, signal: new AbortController().signal, maxMessage: MAX })

for (const way of ['stream', 'poll', 'turns'] as const) {
  carrierSuite(`over HTTP, ${way}, by node:http`, () =>
    httpPairWith((port) =>
      open(new NodeHttpClient(parseServerUrl(`ws://127.0.0.1:${port}`), {}, { host: '127.0.0.1', fields: [] }), way),
    ),
  )
  carrierSuite(`over HTTP, ${way}, by fetch`, () =>
    httpPairWith((port) => open(new FetchClient(`http://127.0.0.1:${port}/http`, undefined), way)),
  )
}

const made = generate([{ name: 'commonName', value: '127.0.0.1' }], {
  keyType: 'ec',
  extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
})

carrierSuite('over HTTPS, poll, by node:http', async () => {
  const { cert, private: key } = await made
  return httpPairWith(
    (port) =>
      open(
        new NodeHttpClient(parseServerUrl(`wss://127.0.0.1:${port}`), { ca: cert }, { host: '127.0.0.1', fields: [] }),
        'poll',
      ),
    {
      cert,
      key,
    },
  )
})

carrierSuite('over HTTP/2', async () => {
  const { cert, private: key } = await made
  return httpPairWith(
    (port) => openHttp2(parseServerUrl(`wss://127.0.0.1:${port}`), undefined, { ca: cert, maxMessage: MAX }),
    { cert, key },
  )
})
