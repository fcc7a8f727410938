import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { which } from './need.js'
import { closedPort } from './net.js'
import { type Running, said, start } from './process.js'

const HELPERS = '/usr/lib/squid'
/** Whom it knows. */
export const USER = 'ann'
export const PASSWORD = 'a secret of ann'

export type SquidScheme = 'basic' | 'digest' | 'ntlm'

/**
 * Debian's squid, which asks who it is by one scheme; it lets CONNECT through to every port here.
 *
 * @param inside what a command begins with that runs in a network of its own
 */
export async function squid(
  folder: string,
  scheme: SquidScheme,
  inside: readonly string[] = [],
): Promise<Running & { port: number }> {
  const port = inside.length > 0 ? 3128 : await closedPort()
  const config = join(folder, `squid-${scheme}.conf`)
  writeFileSync(
    config,
    `http_port 127.0.0.1:${port}
pid_filename none
cache deny all
cache_log stdio:/dev/stderr
access_log none
netdb_filename none
pinger_enable off
coredump_dir ${folder}
auth_param ${scheme} program ${helper(folder, scheme)}
${scheme === 'ntlm' ? '' : `auth_param ${scheme} realm sluice\n`}auth_param ${scheme} children ${scheme === 'ntlm' ? 4 : 1}
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
`,
  )
  // Started as root it becomes another user, who must be able to read its files.
  chmodSync(folder, 0o755)
  const [program = '', ...args] = [...inside, which('squid')!, '-N', '-f', config]
  const running = start(program, args)
  await said(running, /Accepting HTTP Socket connections/)
  return { ...running, port }
}

/** The program that knows the users. The one for NTLM takes everybody who speaks it. */
function helper(folder: string, scheme: SquidScheme): string {
  if (scheme === 'ntlm') return join(HELPERS, 'ntlm_fake_auth')
  const users = join(folder, `users-${scheme}`)
  const md5 = (text: string) => createHash('md5').update(text).digest('hex')
  const line =
    scheme === 'basic' ? `${USER}:${encrypted(PASSWORD)}` : `${USER}:sluice:${md5(`${USER}:sluice:${PASSWORD}`)}`
  writeFileSync(users, `${line}\n`, { mode: 0o644 })
  return scheme === 'basic'
    ? `${join(HELPERS, 'basic_ncsa_auth')} ${users}`
    : `${join(HELPERS, 'digest_file_auth')} -c ${users}`
}

/** As htpasswd writes it. */
function encrypted(text: string): string {
  return execFileSync('openssl', ['passwd', '-apr1', text], { encoding: 'utf8' }).trim()
}
