/** What a person sees who opens the server in a browser. It runs no script and loads nothing. */
export function homePage(prefix: string, version: string): string {
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>sluice</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}
pre{background:#8881;padding:.8rem;overflow:auto;border-radius:6px}code{font-size:.9em}</style>
<h1>This is a sluice server</h1>
<p>It carries TCP connections inside WebSockets. From a terminal:</p>
<pre><code>SLUICE_TOKEN=… npx sluice connect THIS-URL -L 5432:db:5432
ssh -o ProxyCommand='npx sluice stdio THIS-URL %h:%p' user@host</code></pre>
<p>From a page whose origin is allowed, with nothing but the browser's own WebSocket:</p>
<pre><code>const ws = new WebSocket('wss://' + host + '${prefix}/tcp/redis/6379',
                         ['binary', 'authorization.bearer.TOKEN'])
ws.binaryType = 'arraybuffer'
ws.onopen = () => ws.send(new TextEncoder().encode('PING\\r\\n'))
ws.onmessage = ({ data }) => console.log(new TextDecoder().decode(data))</code></pre>
<p>One WebSocket is one TCP connection; binary messages hold its bytes. Whoever runs this server decides who may connect,
and to what. <a href="${prefix}/healthz">Health</a> · sluice ${version}</p>
</html>
`
}
