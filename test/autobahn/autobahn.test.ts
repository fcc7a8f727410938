import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { need, PYTHON } from '../helpers/need.js'
import { closedPort, connectTo, until } from '../helpers/net.js'
import { run, start } from '../helpers/process.js'

const KOSOKU = join(PYTHON, '..', 'kosoku')
const ECHO = fileURLToPath(new URL('./echo.js', import.meta.url))
/** Compression is not negotiated, so its cases have nothing to try. */
const WITHOUT_COMPRESSION = ['-x', '12.*', '-x', '13.*']
/** Cases 1 to 7, 9 and 10 of Autobahn's suite. */
const CASES = 301

interface Result {
  readonly behavior: string
  readonly behaviorClose: string
}

/** What the report says, counted; anything but OK and INFORMATIONAL is named. */
function judge(folder: string): { counts: Record<string, number>; bad: string[]; total: number } {
  const index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as Record<string, Record<string, Result>>
  const results = Object.values(index).flatMap((agent) => Object.entries(agent))
  const counts: Record<string, number> = {}
  const bad: string[] = []
  for (const [name, { behavior, behaviorClose }] of results) {
    counts[behavior] = (counts[behavior] ?? 0) + 1
    const good = ['OK', 'INFORMATIONAL']
    if (!good.includes(behavior) || !good.includes(behaviorClose))
      bad.push(`${name}: ${behavior}, close ${behaviorClose}`)
  }
  return { counts, bad, total: results.length }
}

describe("Autobahn's cases, by kosoku", () => {
  for (const readMode of ['onread', 'data']) {
    const env = { ...process.env, SLUICE_READ_MODE: readMode }

    it(`our server, read by ${readMode}: every case OK or informational`, async (t) => {
      if (!need(t, KOSOKU)) return
      const folder = mkdtempSync(join(tmpdir(), 'sluice-autobahn-'))
      const server = start(process.execPath, [ECHO, 'server'], { env })
      try {
        await until(() => /\d+/.test(server.stdout()), 'the port')
        await run(KOSOKU, [`127.0.0.1:${server.stdout().trim()}`, ...WITHOUT_COMPRESSION, '-o', folder])
        const { counts, bad, total } = judge(folder)
        t.diagnostic(`server: ${JSON.stringify(counts)}`)
        assert.deepEqual(bad, [])
        assert.equal(total, CASES)
      } finally {
        await server.stop()
        rmSync(folder, { recursive: true })
      }
    })

    it(`our client, read by ${readMode}: every case OK or informational`, async (t) => {
      if (!need(t, KOSOKU)) return
      const folder = mkdtempSync(join(tmpdir(), 'sluice-autobahn-'))
      const port = await closedPort()
      const server = start(KOSOKU, ['-m', 'fuzzingserver', `127.0.0.1:${port}`, ...WITHOUT_COMPRESSION, '-o', folder])
      try {
        await untilOpen(port)
        const { stdout } = await run(process.execPath, [ECHO, 'client', String(port)], { env })
        assert.equal(stdout.trim(), `ran ${CASES} cases`)
        // The report is written after the last connection; all of it when the server ends.
        await server.stop('SIGINT')
        const { counts, bad, total } = judge(folder)
        t.diagnostic(`client: ${JSON.stringify(counts)}`)
        assert.deepEqual(bad, [])
        assert.equal(total, CASES)
      } finally {
        await server.stop()
        rmSync(folder, { recursive: true })
      }
    })
  }
})

async function untilOpen(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    try {
      const socket = await connectTo(port)
      socket.destroy()
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  throw new Error(`nothing listens on ${port}`)
}
