// Every line of docs/from-other-tools.md, run in a network namespace of its own, where all ports are free.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { selfSigned } from '#src/server/index.js'
import { need, needRoot, ROOT } from '../helpers/need.js'
import { until } from '../helpers/net.js'
import { CLI, type Running, said, start } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'

interface Row {
  readonly theirs: string
  readonly here: string
  readonly says: string
}

/** The rows of the tables, by their headings. */
function tables(): Map<string, Row[]> {
  const found = new Map<string, Row[]>()
  let rows: Row[] = []
  for (const line of readFileSync(join(ROOT, 'docs', 'from-other-tools.md'), 'utf8').split('\n')) {
    if (line.startsWith('## ')) found.set(line.slice(3), (rows = []))
    if (!line.startsWith('| `')) continue
    const [theirs = '', here = '', says = ''] = line
      .slice(2, -1)
      .split('|')
      .map((cell) => cell.trim().replaceAll('`', ''))
    rows.push({ theirs, here, says })
  }
  return found
}

describe('what is typed elsewhere', { concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-other-'))
  const running: Running[] = []
  let pid = 0
  let pin = ''

  after(async () => {
    for (const one of running.reverse()) await one.stop()
    rmSync(folder, { recursive: true })
  })

  /** Runs a line of a shell in the namespace. */
  function inside(line: string, env: Record<string, string> = {}): Running {
    const shell = `sluice() { exec '${process.execPath}' '${CLI}' "$@"; }\n${line}`
    const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SLUICE_')))
    return start('nsenter', ['-t', String(pid), '-n', 'sh', '-c', shell], { cwd: folder, env: { ...clean, ...env } })
  }

  async function begin(line: string, says: RegExp): Promise<void> {
    const one = inside(line, { SLUICE_TOKEN: TOKEN })
    running.push(one)
    await said(one, says)
  }

  /** The namespace, its servers, a proxy that asks for a password, and an echo in place of SSH. */
  async function setUp(): Promise<void> {
    const made = await selfSigned(['127.0.0.1', 'localhost'])
    pin = made.pin
    const files = {
      'cert.pem': made.cert,
      'key.pem': made.key,
      tokens: `ann:${TOKEN}\n`,
      token: `${TOKEN}\n`,
      login: 'me:a secret\n',
      'sluice.yaml': 'serve:\n  listen: ":8080"\n  token-file: tokens\n',
    }
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text, { mode: 0o600 })
    const holder = start('unshare', [
      '-n',
      'sh',
      '-c',
      'ip link set lo up && ip addr add 192.168.0.5/32 dev lo && echo there && exec sleep 600',
    ])
    running.push(holder)
    await until(() => /there/.test(holder.stdout()), 'the namespace')
    pid = holder.child.pid!
    const rules = "--allow '*:*' --allow '[::/0]:*' --allow 0.0.0.0/0:* --allow 0.0.0.0/0:*/udp --allow /run/db.sock"
    const reverse = "--allow-reverse '*:*' --allow-reverse '*:*/udp' --allow-reverse /tmp/r.sock"
    const serve = `sluice serve ${rules} ${reverse}`
    await begin(`${serve} --listen 9000`, /serving/)
    await begin(`${serve} --listen 9443 --tls-cert cert.pem --tls-key key.pem`, /serving/)
    await begin(`${serve} --listen 9001 --prefix /PREFIX`, /serving/)
    await begin('sluice connect ws://127.0.0.1:9000 -D 3128 --dynamic-auth-file login', /listening/)
    running.push(inside('exec socat TCP-LISTEN:22,fork,reuseaddr EXEC:cat'))
  }

  /** The line with what stands for something in the docs replaced by what is there. */
  function real(line: string): string {
    const server = /--(pin|ca) /.test(line) ? 'wss://127.0.0.1:9443' : 'ws://127.0.0.1:9000'
    return line
      .replace('wss://tunnel.example/PREFIX', 'ws://127.0.0.1:9001/PREFIX')
      .replace('wss://tunnel.example', server)
      .replace('sha256/PIN', pin)
      .replace('proxy.example', '127.0.0.1')
      .replace(/^(sluice stdio \S+) \S+:22$/, '$1 127.0.0.1:22')
  }

  let ready: Promise<void> | undefined
  for (const [tool, rows] of tables()) {
    describe(tool, () => {
      for (const { theirs, here, says } of rows) {
        it(`${theirs} → ${here}`, async (t) => {
          if (!need(t, 'unshare', 'nsenter', 'ip', 'socat') || !needRoot(t)) return
          await (ready ??= setUp())
          const own = /^sluice serve|--token-file/.test(here)
          const one = inside(real(here), own ? {} : { SLUICE_TOKEN: TOKEN })
          try {
            if (says === '') {
              one.child.stdin!.write('to and fro')
              await until(() => one.stdout() === 'to and fro', `an echo; it said ${one.stderr()}`)
              return
            }
            await until(
              () => one.stderr().includes(`sluice: ${says}`) || one.child.exitCode !== null,
              `${says}; it said ${one.stderr()}`,
            )
            assert.ok(one.stderr().includes(`sluice: ${says}`), one.stderr())
          } finally {
            await one.stop()
          }
        })
      }
    })
  }

  it('every tool has a table', () => {
    assert.deepEqual(
      [...tables()].map(([tool, { length }]) => [tool, length >= 10]),
      [
        ['ssh', true],
        ['chisel', true],
        ['wstunnel', true],
      ],
    )
  })
})
