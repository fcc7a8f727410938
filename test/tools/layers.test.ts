import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ROOT } from '../helpers/need.js'

/** Runs the border check over a tree of these files. */
function check(files: Record<string, string>): { code: number | null; said: string } {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-layers-'))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, 'tools', 'check-layers.mjs'), folder], {
    encoding: 'utf8',
  })
  rmSync(folder, { recursive: true })
  return { code: status, said: stdout + stderr }
}

describe('check-layers reports what is planted', () => {
  for (const [name, files, says] of [
    [
      'an uphill import',
      { 'websocket/a.ts': "import { x } from '../node/b.ts'" },
      /"websocket" may not import "..\/node\/b.ts"/,
    ],
    [
      'a type-only uphill import',
      { 'config/a.ts': "import type { X } from '../server/b.ts'" },
      /"config" may not import/,
    ],
    ['a dynamic import', { 'errors/a.ts': "const x = await import('../cli/b.ts')" }, /"errors" may not import/],
    ['a host module in a pure room', { 'websocket/a.ts': "import net from 'node:net'" }, /may not import "node:net"/],
    ['a package that is not in the table', { 'node/a.ts': "import { WebSocket } from 'ws'" }, /may not import "ws"/],
    [
      'the clock in a pure room',
      { 'config/a.ts': "import '../errors/x.ts'\nconst now = Date.now()" },
      /reads the clock, chance or a timer \(Date.now\)/,
    ],
    ['chance in a pure room', { 'websocket/a.ts': "import '../errors/x.ts'\nMath.random()" }, /Math.random/],
    ['a room without a row', { 'extra/a.ts': "import '../errors/x.ts'" }, /folder "extra" has no row/],
    ['nothing at all', { 'errors/readme.md': '' }, /the check saw nothing/],
  ] as const) {
    it(name, () => {
      const { code, said } = check(files)
      assert.equal(code, 1)
      assert.match(said, says)
    })
  }

  it('and passes what is allowed', () => {
    assert.equal(check({ 'node/a.ts': "import net from 'node:net'\nimport { y } from '../websocket/b.ts'" }).code, 0)
  })
})
