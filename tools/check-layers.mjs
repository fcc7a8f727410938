// Fails when a folder of src/ imports uphill, or when a pure room reads the clock, chance or a timer.
// The compiler catches most of it; this catches the rest (third-party names, `Date`, `Math.random`, a folder without
// a row) and a check that sees nothing.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'

/** Folder → what it may import. `node:` stands for the host's modules. */
export const MAY = {
  errors: [],
  wire: ['errors'],
  session: ['errors', 'wire'],
  link: ['errors', 'wire', 'session'],
  carriers: ['errors', 'wire', 'session', 'link'],
  client: ['errors', 'wire', 'session', 'link', 'carriers'],
  websocket: ['errors'],
  proxy: ['errors'],
  config: ['errors'],
  node: [
    'errors',
    'wire',
    'session',
    'link',
    'carriers',
    'client',
    'websocket',
    'proxy',
    'config',
    'node:',
    'pac-resolver',
    'quickjs-wasi',
  ],
  server: [
    'errors',
    'wire',
    'session',
    'link',
    'websocket',
    'proxy',
    'config',
    'node',
    'node:',
    'selfsigned',
    'jose',
    'sirv',
  ],
  cli: [
    'errors',
    'wire',
    'session',
    'link',
    'websocket',
    'proxy',
    'config',
    'node',
    'server',
    'node:',
    'commander',
    'yaml',
    'jose',
    'prom-client',
    'acme-client',
  ],
}
const PURE = ['errors', 'wire', 'session', 'link', 'websocket', 'proxy', 'config']
const HOST =
  /\b(Date\.now|new Date|Math\.random|performance\.now|setTimeout|setInterval|setImmediate|queueMicrotask|Buffer\.)\b/

export function checkLayers(root) {
  const bad = []
  const files = readdirSync(root, { recursive: true })
    .map(String)
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
  let imports = 0
  for (const file of files) {
    const from = file.split('/')[0]
    // Examples in comments import what their reader would.
    const text = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '')
    if (!(from in MAY)) bad.push(`${file}: folder "${from}" has no row in the table`)
    for (const [, spec] of text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*['"]([^'"]+)['"]/g)) {
      imports++
      const relative = spec.startsWith('.') && posix.join(dirname(file), spec).split('/')[0]
      const to = relative || (spec.startsWith('node:') ? 'node:' : spec)
      if (to !== from && !MAY[from]?.includes(to)) {
        bad.push(`${file}: "${from}" may not import "${spec}" (allowed: ${MAY[from]?.join(', ') || 'nothing'})`)
      }
    }
    const host = PURE.includes(from) && text.match(HOST)
    if (host) bad.push(`${file}: "${from}" reads the clock, chance or a timer (${host[0]}); take it as an argument`)
  }
  if (files.length === 0 || imports === 0) {
    bad.push(`looked at ${files.length} files and ${imports} imports: the check saw nothing`)
  }
  return { files: files.length, imports, bad }
}

if (process.argv[1]?.endsWith('check-layers.mjs')) {
  const { files, imports, bad } = checkLayers(process.argv[2] ?? 'src')
  for (const line of bad) console.error(line)
  console.log(`check-layers: ${files} files, ${imports} imports, ${bad.length} violations`)
  process.exitCode = bad.length ? 1 : 0
}
