// A WebSocket echo on the same codec and carrier as the tunnel, both roles, for Autobahn's test cases.
//   echo.js server          prints the port and echoes until it is ended
//   echo.js client PORT     runs every case of a fuzzing server
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { parseServerUrl } from '#src/config/index.js'
import type { SluiceError } from '#src/errors/index.js'
import { openWebSocket, SocketStream, sha1Base64, WebSocketStream } from '#src/node/index.js'
import { checkRequest, formatAccept, type HeaderFields, MessageAssembler } from '#src/websocket/index.js'

const MAX_MESSAGE = 32 * 1024 * 1024

/** Echoes whole messages until the WebSocket ends; `onMessage` sees each text. */
function echo(ws: WebSocketStream, onMessage?: (text: string) => void): Promise<void> {
  return new Promise((resolve) => {
    const assembler = new MessageAssembler((opcode, message) => {
      if (onMessage) onMessage(Buffer.from(message).toString())
      else ws.sendMessage(opcode, message)
    })
    const guard = (act: () => void) => {
      try {
        act()
      } catch (error) {
        ws.fail(error as SluiceError)
      }
    }
    ws.start({
      messageStart: (opcode) => assembler.messageStart(opcode),
      payload: (bytes) => guard(() => assembler.payload(bytes)),
      messageEnd: () => guard(() => assembler.messageEnd()),
      closeReceived: (info) => ws.close(info.code, info.reason),
      drained: () => {},
      closed: () => resolve(),
    })
  })
}

async function serveEchoes(): Promise<void> {
  const server = http.createServer()
  server.on('upgrade', (request, socket: Socket, head) => {
    const raw = request.rawHeaders
    const fields: HeaderFields = raw.flatMap((name, i) => (i % 2 === 0 ? [[name, raw[i + 1]!] as const] : []))
    const checked = checkRequest({ method: request.method!, httpVersion: request.httpVersion, fields })
    if ('status' in checked) return void socket.destroy()
    const stream = SocketStream.from(socket, head)
    stream.write(Buffer.from(formatAccept(checked.key, undefined, sha1Base64)))
    void echo(new WebSocketStream(stream, { role: 'server', maxMessage: MAX_MESSAGE }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  console.log((server.address() as AddressInfo).port)
}

async function runCases(port: string): Promise<void> {
  const url = parseServerUrl(`ws://127.0.0.1:${port}`)
  const open = async (path: string) => (await openWebSocket(url, path, {})).ws
  let count = 0
  await echo(await open('/getCaseCount'), (text) => {
    count = Number(text)
  })
  for (let number = 1; number <= count; number++) await echo(await open(`/runCase?case=${number}&agent=sluice`))
  await echo(await open('/updateReports?agent=sluice'), () => {})
  console.log(`ran ${count} cases`)
}

if (process.argv[2] === 'server') await serveEchoes()
else await runCases(process.argv[3]!)
