import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { which } from './need.js'
import { run, start, untilOpen } from './process.js'

/** A server of OpenSSH's on this port, which lets the key `user` of its folder in. Needs root. */
export async function sshServer(keys: string, port: number): Promise<{ keys: string; stop(): Promise<unknown> }> {
  mkdirSync(keys, { mode: 0o700 })
  mkdirSync('/run/sshd', { recursive: true })
  for (const name of ['host', 'user'])
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(keys, name)])
  writeFileSync(join(keys, 'authorized'), readFileSync(join(keys, 'user.pub')), { mode: 0o600 })
  const config = [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${keys}/host`,
    `AuthorizedKeysFile ${keys}/authorized`,
    `PidFile ${keys}/pid`,
    'StrictModes no',
    'UsePAM no',
    'PermitRootLogin yes',
    'Subsystem sftp internal-sftp',
  ]
  writeFileSync(join(keys, 'config'), `${config.join('\n')}\n`)
  const running = start(which('sshd')!, ['-D', '-e', '-f', join(keys, 'config')])
  await untilOpen(port, running)
  return { keys, stop: () => running.stop() }
}

/** What `ssh` and `scp` need to use such a server without asking. */
export const sshOptions = (keys: string): string[] =>
  [
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'LogLevel=ERROR',
    `IdentityFile=${join(keys, 'user')}`,
  ].flatMap((option) => ['-o', option])
