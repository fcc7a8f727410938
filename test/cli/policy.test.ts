import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { sluice } from '../helpers/process.js'

describe('sluice policy', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-policy-'))
  after(() => rmSync(folder, { recursive: true }))

  it('explain says which rule decides, as the server would', async () => {
    const config = join(folder, 'explain.yaml')
    const tokens = join(folder, 'explain-tokens')
    const sha256 = `sha256-${'0'.repeat(64)}`
    writeFileSync(tokens, `ann:${sha256} allow=127.0.0.1:22 allow=*:443\nbob:${sha256.replace('0', '1')}\n`, {
      mode: 0o600,
    })
    writeFileSync(
      config,
      `serve:\n  token-file: ${tokens}\n  allow: ["10.0.0.0/8:80", "@web", "1.1.1.1:53/udp", "/run/db.sock"]\n`,
    )
    const explain = async (...args: string[]) => {
      const running = sluice(['policy', 'explain', ...args, '--config', config])
      return `${await running.exited} ${running.stdout()}${running.stderr()}`
    }
    assert.match(
      await explain('ann', '127.0.0.1:22'),
      /^0 rules: those of ann\n.*127\.0\.0\.1: yes, rule 127\.0\.0\.1:22\nann may reach/s,
    )
    assert.match(
      await explain('ann', '10.1.2.3:80'),
      /^6 [\s\S]*: no, no rule allows 10\.1\.2\.3:80; 10\.1\.2\.3 is private\nann may not reach/,
    )
    assert.match(await explain('ann', '169.254.169.254:443'), /^6 [\s\S]*169\.254\.169\.254 is .*\nann may not reach/)
    assert.match(await explain('ann', 'localhost:443'), /^6 [\s\S]*127\.0\.0\.1: no, .*loopback[\s\S]*may not reach/)
    assert.match(
      await explain('bob', '10.1.2.3:80'),
      /^0 rules: of the server: bob has none of its own[\s\S]*rule 10\.0\.0\.0\/8:80/,
    )
    assert.match(await explain('bob', '1.1.1.1:53/udp'), /^0 [\s\S]*rule 1\.1\.1\.1:53\/udp/)
    assert.match(await explain('bob', '1.1.1.1:53'), /^6 /)
    assert.match(await explain('bob', '@web'), /^0 [\s\S]*@web: yes, rule @web/)
    assert.match(await explain('bob', '/run/db.sock'), /^0 /)
    assert.match(await explain('eve', '@web'), /^2 [\s\S]*no token of the name "eve"/)
    assert.match(await explain('ann', 'nonsense'), /^2 [\s\S]*nonsense/)
  })

  it('explain knows for whom rules are, and what they forbid', async () => {
    const config = join(folder, 'who.yaml')
    const rules = ['!10.0.0.13:*', '10.0.0.0/8:22 for group:dba, cert:ann', '*:443 for jwt:*']
    writeFileSync(config, `serve:\n  allow: ${JSON.stringify(rules)}\n`)
    const explain = async (...args: string[]) => {
      const running = sluice(['policy', 'explain', ...args, '--config', config])
      return `${await running.exited} ${running.stdout()}${running.stderr()}`
    }
    assert.match(
      await explain('jwt:ann', '10.0.0.1:22', '--group', 'dba'),
      /^0 rules: of the server\n[\s\S]*10\.0\.0\.1: yes, rule 10\.0\.0\.0\/8:22 for/,
    )
    assert.match(await explain('cert:ann', '10.0.0.1:22'), /^0 rules: those of the server that are for cert:ann/)
    assert.match(await explain('cert:ann', '10.0.0.13:22'), /^6 [\s\S]*10\.0\.0\.13:22: no, rule !10\.0\.0\.13:\*/)
    assert.match(await explain('jwt:ann', '10.0.0.1:22'), /^6 [\s\S]*no rule allows/)
    assert.match(await explain('proxy:eve', '8.8.8.8:443'), /^6 rules: those of the server that are for proxy:eve/)
  })
})
