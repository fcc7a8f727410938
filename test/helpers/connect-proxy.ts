import net from 'node:net'

/** A small HTTP CONNECT proxy on a socket, whose answer comes in two pieces; names below `.invalid` get `refusal`. */
export function connectProxy(
  socket: net.Socket,
  onRequest: (line: string) => void = () => {},
  refusal = '502 Bad Gateway',
): void {
  socket.on('error', () => {})
  socket.once('data', (chunk: Buffer) => {
    const line = chunk.toString('latin1').split('\r\n')[0]!
    onRequest(line)
    const [, host, port] = /^CONNECT (\S+):(\d+) /.exec(line)!
    if (host!.endsWith('.invalid')) return void socket.end(`HTTP/1.1 ${refusal}\r\n\r\n`)
    const far = net.connect(Number(port), host!, () => {
      socket.write('HTTP/1.1 200 Conn')
      setTimeout(() => {
        socket.write('ection established\r\n\r\n')
        socket.pipe(far)
        far.pipe(socket)
      }, 5)
    })
    far.on('error', () => socket.destroy())
  })
}
