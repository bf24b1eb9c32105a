import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import tailwind from '@tailwindcss/vite'
import react from '@vitejs/plugin-react'
import { defineConfig, type Plugin } from 'vite'

// The server never compresses these: it hands out what lies here already.
function compressed(): Plugin {
  let folder = ''
  return {
    name: 'compressed',
    apply: 'build',
    configResolved(config) {
      folder = join(config.build.outDir, 'assets')
    },
    writeBundle() {
      for (const name of readdirSync(folder)) {
        if (!/\.(js|css|svg)$/.test(name)) continue
        const bytes = readFileSync(join(folder, name))
        if (bytes.length < 600) continue
        writeFileSync(join(folder, `${name}.gz`), gzipSync(bytes, { level: 9 }))
        const best = { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }
        writeFileSync(join(folder, `${name}.br`), brotliCompressSync(bytes, best))
      }
    },
  }
}

const server = process.env.BUILDEROS_URL ?? 'http://127.0.0.1:8420'

export default defineConfig({
  plugins: [react(), tailwind(), compressed()],
  build: {
    outDir: '../src/builderos/interfaces/console/dist',
    emptyOutDir: true,
    assetsInlineLimit: 0, // the policy of the page allows nothing inline but images
    chunkSizeWarningLimit: 700,
    reportCompressedSize: false,
    rolldownOptions: {
      // A script of its own, which waits for no other: it asks for what the page needs first.
      input: { index: 'index.html', early: 'src/api/early.ts' },
      output: {
        codeSplitting: {
          includeDependenciesRecursively: false,
          groups: [
            // Whatever every page needs comes as one script: a browser has six lines to a server, and the calls want some.
            { name: 'frame', tags: ['$initial'], test: (id) => !/early\.ts$|preload-helper|rolldown.runtime|index\.html/.test(id), priority: 2 },
            { name: 'list', test: /ui\/(Table|EmptyState|Status|Confirm|plain)\.tsx?$|tanstack.virtual-core|tanstack.react-virtual|nfiniteQuery/, priority: 1 },
          ],
        },
      },
    },
  },
  server: { proxy: Object.fromEntries(['/v1', '/git', '/sandbox', '/tasks', '/system', '/memory', '/project', '/sign-in'].map((path) => [path, server])) },
})
