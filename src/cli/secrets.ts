import { readFileSync, statSync } from 'node:fs'
import { checkToken, type ProxyLogin, parseLogin } from '../config/index.ts'
import { messageOf, SluiceError } from '../errors/index.ts'

/** A file's text, or a clear error. */
export function readText(file: string, flag: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new SluiceError('ERR_SLUICE_CONFIG', `${flag}: ${file} cannot be read: ${messageOf(cause)}`, { cause })
  }
}

/** A file with secrets: refused if others than its owner can read it, unless `mode` is `any`. */
export function readSecret(file: string, flag: string, mode: string): string {
  const text = readText(file, flag)
  const others = process.platform === 'win32' ? 0 : statSync(file).mode & 0o077
  if (others !== 0 && mode !== 'any') {
    throw new SluiceError(
      'ERR_SLUICE_CONFIG',
      `${flag}: others can read ${file} (mode ${(statSync(file).mode & 0o777).toString(8)})`,
      {
        remedy: `chmod 600 ${file}, or give --token-file-mode any.`,
      },
    )
  }
  return text
}

/** `USER:PASSWORD` in the first line of a secret file. */
export function readLogin(file: string, flag: string, mode: string): ProxyLogin {
  const login = parseLogin(readSecret(file, flag, mode).split(/\r?\n/)[0]!)
  if (login !== undefined) return login
  throw new SluiceError('ERR_SLUICE_CONFIG', `${flag}: the first line of ${file} is not USER:PASSWORD`)
}

/** The token of the environment, checked. */
export function environmentToken(): string | undefined {
  const token = process.env.SLUICE_TOKEN
  return token === undefined || token === '' ? undefined : checkToken(token.trim(), 'SLUICE_TOKEN')
}
