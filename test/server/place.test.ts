import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
// Not a door of the package: what is listened on for clients.
import { type Bind, type Member, Place } from '#src/server/place.js'
import { closedPort, connectTo } from '../helpers/net.js'

const member = { carried: new Set() } as unknown as Member

async function leftWhileBinding(bind: Bind): Promise<void> {
  const place = new Place(bind, false, 1_000)
  place.join(member)
  place.leave(member)
  await place.bound
}

it('an address is free again when its last client leaves while it is being bound', async () => {
  const [folder, port] = [mkdtempSync(join(tmpdir(), 'sluice-place-')), await closedPort()]
  const path = join(folder, 's')
  await leftWhileBinding({ kind: 'tcp', host: '127.0.0.1', port })
  await assert.rejects(connectTo(port), /ECONNREFUSED/)
  await leftWhileBinding({ kind: 'unix', path })
  assert.equal(existsSync(path), false)
  await leftWhileBinding({ kind: 'udp', host: '127.0.0.1', port })
  const again = createSocket('udp4').bind(port, '127.0.0.1')
  await once(again, 'listening')
  again.close()
  rmSync(folder, { recursive: true })
})
