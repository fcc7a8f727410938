// Installs what is locked if it is not there yet, and compiles every room. `dist/` is made anew when the sources have
// lost a file, since the compiler leaves the outputs of deleted ones behind.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './root.mjs'

const started = Date.now()

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}

/** Outputs whose source is gone. */
function stale() {
  if (!existsSync(join(root, 'dist'))) return false
  return readdirSync(join(root, 'dist'), { recursive: true })
    .map(String)
    .filter((file) => file.endsWith('.js'))
    .some((file) => {
      const source = file.replace(/\.js$/, '.ts')
      return !existsSync(join(root, 'src', source)) && !existsSync(join(root, source))
    })
}

/** Whether node_modules is what the lock file says. */
function installed() {
  const stamp = join(root, 'node_modules', '.package-lock.json')
  return existsSync(stamp) && statSync(stamp).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs - 1000
}

// Not `npm ci`: it refuses a lock file without the optional packages of platforms that a registry does not carry.
if (!installed())
  run('npm', ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'])
if (stale()) rmSync(join(root, 'dist'), { recursive: true, force: true })
run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-b'])
chmodSync(join(root, 'dist', 'cli', 'main.js'), 0o755)
if (process.env.SLUICE_BUILD_VERBOSE) console.error(`build: ${((Date.now() - started) / 1000).toFixed(1)} s`)
