import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Asking, Auth } from '#src/server/index.js'

/** An implementation of `Auth` that lets somebody in. */
export interface AuthUnderTest {
  readonly auth: Auth
  /** Somebody who is let in, and under what name. */
  readonly good: Asking
  readonly name: string
  /** Others, who are not. */
  readonly bad: Readonly<Record<string, Asking>>
  /** Takes away what `good` has, where that can be. */
  revoke?(): void
}

/** Somebody with these header fields. */
export function asking(fields: readonly (readonly [string, string])[], more: Partial<Asking> = {}): Asking {
  return { fields, peer: '198.51.100.7', client: '198.51.100.7', ...more }
}

/** What every `Auth` must do. */
export function authSuite(title: string, make: () => Promise<AuthUnderTest>): void {
  describe(`Auth: ${title}`, () => {
    it('lets in who it knows, again and again, under the same name', async () => {
      const { auth, good, name } = await make()
      for (let i = 0; i < 3; i++) {
        const principal = await auth.authenticate(good)
        assert.equal(principal?.name, name)
        assert.equal(auth.still?.(principal) ?? true, true)
      }
    })

    it('refuses everybody else, and neither throws nor rejects', async () => {
      const { auth, bad } = await make()
      const nobody = { nobody: asking([]), garbage: asking([['Authorization', '\u0000 ===']]) }
      for (const [who, one] of Object.entries({ ...nobody, ...bad })) {
        assert.equal(await auth.authenticate(one), undefined, who)
      }
    })

    it('knows nobody any more who was revoked, nor whom it let in before', async () => {
      const { auth, good, revoke } = await make()
      if (revoke === undefined) return
      const principal = await auth.authenticate(good)
      assert.ok(principal)
      revoke()
      assert.equal(auth.still!(principal), false)
      assert.equal(await auth.authenticate(good), undefined)
    })

    it('keeps apart those whom it let in', async () => {
      const { auth, good } = await make()
      const [one, other] = await Promise.all([auth.authenticate(good), auth.authenticate(good)])
      assert.deepEqual(one, other)
      assert.notEqual(one, other)
    })
  })
}
