// Runs the tests that depend on the host (sockets, adopted handles, TLS, the command line) on another Node version.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { nodeBinary } from './provision.mjs'
import { root } from './root.mjs'

const [major] = process.argv.slice(2)
const binary = nodeBinary(major)
if (binary === undefined) {
  console.error(`on-node: Node ${major} is not here (tools/provision.mjs installs it)`)
  process.exit(1)
}
const folders = ['e2e', 'server', 'cli', 'node', 'websocket', 'carriers']
const files = folders.flatMap((folder) =>
  readdirSync(join(root, 'dist', 'test', folder), { recursive: true })
    .map(String)
    .filter((file) => file.endsWith('.test.js'))
    .map((file) => join(root, 'dist', 'test', folder, file)),
)
const env = { ...process.env, PATH: `${join(binary, '..')}:${process.env.PATH}`, SLUICE_SHORT: '1' }
const options = ['--test', '--test-concurrency=1', '--test-timeout=120000', '--test-reporter=dot']
const { status } = spawnSync(binary, [...options, ...files], {
  cwd: root,
  stdio: 'inherit',
  env,
})
process.exit(status ?? 1)
