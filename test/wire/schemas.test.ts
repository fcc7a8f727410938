import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { ROOT } from '../helpers/need.js'

const FOLDER = join(ROOT, 'spec', 'vectors')
const read = (file: string): unknown => JSON.parse(readFileSync(join(FOLDER, file), 'utf8'))

describe('vectors and their schemas', () => {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.json'))

  it('every file of vectors has a schema, and every schema a file', () => {
    const schemas = readdirSync(join(FOLDER, 'schema')).map((file) => file.replace('.schema.json', '.json'))
    assert.deepEqual(schemas.sort(), [...files].sort())
  })

  for (const file of files) {
    it(`${file} is as its schema says, and would not be with a field missing`, () => {
      const ajv = new Ajv2020({ strict: true, strictRequired: false, allErrors: true })
      const validate = ajv.compile(read(join('schema', file.replace('.json', '.schema.json'))) as object)
      const vectors = read(file) as Record<string, unknown>[]
      assert.ok(validate(vectors), ajv.errorsText(validate.errors))
      const { name: _, ...nameless } = vectors[0]!
      assert.ok(!validate([nameless, ...vectors.slice(1)]))
    })
  }
})
