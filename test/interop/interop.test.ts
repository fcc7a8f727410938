import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ROOT } from '../helpers/need.js'
import { start } from '../helpers/process.js'

interface Row {
  readonly role: string
  readonly peer: string
  readonly cells: Record<string, string>
}

describe('interop: every WebSocket implementation named, both ways', () => {
  it('fills every cell of the matrix', async (t) => {
    const running = start(process.execPath, [join(ROOT, 'interop', 'run.mjs'), '--json'], { cwd: ROOT })
    await running.exited
    const rows = JSON.parse(Buffer.from(running.stdout(), 'latin1').toString()) as Row[]
    mkdirSync(join(ROOT, 'artifacts'), { recursive: true })
    writeFileSync(join(ROOT, 'artifacts', 'interop.json'), JSON.stringify(rows, undefined, 2))
    assert.equal(rows.length, 11)
    for (const { role, peer, cells } of rows) {
      for (const [column, cell] of Object.entries(cells)) {
        await t.test(`${peer}, ${role}: ${column}`, (cellTest) => {
          if (cell.startsWith('skipped') && process.env.CI !== 'true') return cellTest.skip(cell)
          assert.equal(cell, '✔')
        })
      }
    }
  })
})
