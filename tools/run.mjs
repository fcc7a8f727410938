// The project's commands behind `npm run`: each builds first, so that a fresh clone needs nothing else.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { run as runTests } from 'node:test'
import { spec } from 'node:test/reporters'
import { root } from './root.mjs'

const [command = '', ...rest] = process.argv.slice(2)

function must(program, args, env = {}) {
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}

const node = (...args) => must(process.execPath, args)
const build = () => node(join(root, 'tools', 'build.mjs'))
const bin = (name) => join(root, 'node_modules', '.bin', name)

/** The compiled test files below `folders`, all by default. */
function testFiles(folders) {
  const base = join(root, 'dist', 'test')
  return readdirSync(base, { recursive: true })
    .map(String)
    .filter(
      (file) =>
        file.endsWith('.test.js') && (folders.length === 0 || folders.some((folder) => file.startsWith(folder))),
    )
    .sort()
    .map((file) => join(base, file))
}

/** Runs tests with node's runner and counts them; the last line is the count. */
async function test(folders) {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  const skips = []
  const stream = runTests({ files: testFiles(folders), concurrency: 1, timeout: 30 * 60_000 })
  const leaf = ({ details }) => details?.type !== 'suite'
  stream.on('test:pass', (data) => {
    if (!leaf(data)) return
    if (data.skip === undefined) counts.passed++
    else {
      counts.skipped++
      skips.push(`${data.name}: ${data.skip}`)
    }
  })
  stream.on('test:fail', (data) => {
    if (leaf(data) || data.details?.error?.failureType === 'hookFailed') counts.failed++
  })
  stream.compose(new spec()).pipe(process.stdout)
  await new Promise((resolve) => stream.once('end', resolve))
  await new Promise((resolve) => setTimeout(resolve, 100))
  for (const skip of skips) console.log(`skipped: ${skip}`)
  if (counts.passed === 0) counts.failed++
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
  process.exitCode = counts.failed > 0 ? 1 : 0
}

async function provision() {
  const { provision } = await import('./provision.mjs')
  for (const line of provision({ say: (text) => console.log(`provision: ${text}`) }))
    console.log(`provision: could not get ${line}`)
}

const COMMANDS = {
  demo: () => (build(), node(join(root, 'examples', 'demo.mjs'), ...rest)),
  test: async () => {
    build()
    await provision()
    await test(rest)
  },
  'test:faults': async () => {
    build()
    await provision()
    await test(['faults', 'link', 'server/revoke', 'e2e/session', 'programs'])
  },
  'test:long': async () => {
    process.env.SLUICE_LONG = '1'
    await COMMANDS.test()
  },
  check: () => {
    build()
    must(bin('biome'), ['check', '--error-on-warnings', '.'])
    node(join(root, 'tools', 'check-layers.mjs'))
    node(join(root, 'tools', 'gen-registry.mjs'), '--check')
    node(join(root, 'tools', 'gen-vectors.mjs'), '--check')
    node(join(root, 'tools', 'gen-reference.mjs'), '--check')
  },
  'pack:check': () => (build(), node(join(root, 'tools', 'check-package.mjs'))),
  fuzz: () => (build(), node(join(root, 'dist', 'test', 'fuzz', 'fuzz.js'), ...rest)),
  bench: async () => {
    build()
    await provision()
    node(join(root, 'bench', 'bench.mjs'), ...rest)
    for (const file of ['udp.mjs', 'carriers.mjs']) {
      node(join(root, 'bench', file), ...rest.filter((flag) => flag === '--quick'))
    }
    if (rest.includes('--quick')) return
    // The long line needs namespaces of its own.
    if (process.getuid?.() === 0) node(join(root, 'bench', 'line.mjs'), ...rest)
    // Figures that tests assert: framing, shares, memory.
    await test(['session/rules', 'bounds'])
  },
  'bench:line': async () => {
    build()
    await provision()
    node(join(root, 'bench', 'line.mjs'), ...rest)
  },
  'bench:carriers': async () => {
    build()
    await provision()
    node(join(root, 'bench', 'carriers.mjs'), ...rest)
  },
  interop: async () => {
    build()
    await provision()
    node(join(root, 'interop', 'run.mjs'), ...rest)
  },
}

const action = COMMANDS[command]
if (action === undefined) {
  console.error(`run: "${command}" is not one of ${Object.keys(COMMANDS).join(', ')}`)
  process.exit(2)
}
if (!existsSync(join(root, 'package.json'))) throw new Error('run: this is not the project')
await action()
