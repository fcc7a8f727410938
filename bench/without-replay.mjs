// Builds the same program without replay: what was sent is forgotten as soon as it is written, so that a WebSocket that is lost
// ends its session. Only to measure what replay costs.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../tools/root.mjs'

const CHANGES = [
  [
    'this.#push(carrier, sent);\n        scheduler',
    "this.unkept = sent; this.#push(carrier, new Sent('data', headLength + bytes.length, stream, offset));\n        scheduler",
  ],
  [
    'next() {',
    'next() {\n        if (this.unkept !== undefined) {\n            this.#core.done(this.unkept);\n            this.unkept = undefined;\n        }',
  ],
]

/** Returns the path of its command line. */
export function buildWithoutReplay() {
  const folder = join(root, 'artifacts', 'without-replay')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  cpSync(join(root, 'dist'), join(folder, 'dist'), {
    recursive: true,
    filter: (path) => !path.startsWith(join(root, 'dist', 'test')),
  })
  cpSync(join(root, 'package.json'), join(folder, 'package.json'))
  const file = join(folder, 'dist', 'session', 'outgoing.js')
  let text = readFileSync(file, 'utf8')
  for (const [from, to] of CHANGES) {
    if (text.split(from).length !== 2)
      throw new Error(`outgoing.js has not "${from}" once: bench/without-replay.mjs is stale`)
    text = text.replace(from, to)
  }
  writeFileSync(file, text)
  return join(folder, 'dist', 'cli', 'main.js')
}
