// Tests the package as users get it: packs it, lints its manifest and types, installs it elsewhere, imports every door and
// runs the command; no runtime dependency may need an install script.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from './root.mjs'

const folder = mkdtempSync(join(tmpdir(), 'sluice-package-'))
const run = (program, args, cwd = root) =>
  execFileSync(program, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
const bin = (name) => join(root, 'node_modules', '.bin', name)
try {
  const [packed] = JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder]))
  const stray = packed.files
    .map(({ path }) => path)
    .filter((path) => /^(dist\/test|src|test|\.ci)|\.tsbuild/.test(path))
  if (stray.length > 0) throw new Error(`the package has files that are not for users: ${stray.slice(0, 5).join(', ')}`)
  const tarball = join(folder, packed.filename)
  run(bin('publint'), ['run', tarball, '--strict'])
  run(bin('attw'), [tarball, '--profile', 'esm-only'])
  writeFileSync(join(folder, 'package.json'), '{"type":"module","private":true}')
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', tarball], folder)
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const doors = Object.keys(manifest.exports).filter((door) => door !== './package.json')
  for (const door of doors) {
    const count = run(
      process.execPath,
      ['--input-type=module', '-e', `console.log(Object.keys(await import('sluice${door.slice(1)}')).length)`],
      folder,
    )
    if (Number(count) === 0) throw new Error(`the door ${door} exports nothing`)
  }
  const version = run(join(folder, 'node_modules', '.bin', 'sluice'), ['--version'], folder).trim()
  if (version !== manifest.version)
    throw new Error(`sluice --version says ${version}, the package is ${manifest.version}`)
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
  const scripted = Object.entries(lock.packages).filter(
    ([path, entry]) => path !== '' && !entry.dev && entry.hasInstallScript,
  )
  if (scripted.length > 0)
    throw new Error(`runtime dependencies with install scripts: ${scripted.map(([path]) => path).join(', ')}`)
  if (!existsSync(join(folder, 'node_modules', 'sluice', 'LICENSE'))) throw new Error('the licence is missing')
  console.log(
    `check-package: ${packed.entryCount} files, ${(packed.size / 1024).toFixed(0)} KiB, doors ${doors.join(' ')}`,
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
