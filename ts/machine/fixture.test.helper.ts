/** A tree of files as /proc, /sys and /sys/fs/cgroup have them, for one test file. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

export interface Fixture {
  readonly folder: string
  /** A new tree: paths begin with "proc/", "sys/" or "cgroup/"; a text "-> target" makes a link. */
  tree(files: Readonly<Record<string, string>>): { readonly proc: string; readonly sys: string; readonly cgroup: string; readonly root: string }
  remove(): void
}

export function fixture(): Fixture {
  const folder = mkdtempSync(join(tmpdir(), 'hypura-machine-'))
  let trees = 0
  return {
    folder,
    tree(files) {
      const root = join(folder, String(trees++))
      mkdirSync(root)
      for (const [path, text] of Object.entries(files)) {
        mkdirSync(dirname(join(root, path)), { recursive: true })
        if (text.startsWith('-> ')) symlinkSync(text.slice(3), join(root, path))
        else writeFileSync(join(root, path), text)
      }
      return { root, proc: join(root, 'proc'), sys: join(root, 'sys'), cgroup: join(root, 'cgroup') }
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}
