// A client on the `ws` package: sends `up` random bytes, receives until the server closes, prints JSON.
import { createHash, randomBytes } from 'node:crypto'
import { WebSocket } from 'ws'

const [url, token, up, stall] = process.argv.slice(2)
const sent = createHash('sha256')
const received = createHash('sha256')
let count = 0
const ws = new WebSocket(url, ['binary'], { headers: { Authorization: `Bearer ${token}` } })
ws.on('open', () => {
  for (let at = 0; at < Number(up); at += 65536) {
    const block = randomBytes(65536)
    sent.update(block)
    ws.send(block)
  }
})
ws.on('message', (data, isBinary) => {
  if (!isBinary) throw new Error('a text message')
  if (count === 0 && Number(stall) > 0) {
    ws.pause()
    setTimeout(() => ws.resume(), Number(stall))
  }
  count += data.length
  received.update(data)
})
ws.on('close', (code, reason) => {
  const seen = {
    sent: sent.digest('hex'),
    received: received.digest('hex'),
    count,
    code,
    reason: reason.toString(),
    protocol: ws.protocol,
  }
  console.log(JSON.stringify(seen))
})
