# For tools that look for this file (node-gyp rebuild, electron-rebuild): one action that hands over to CMakeLists.txt, the
# only list of sources. package.json says "gypfile": false, so npm install does not run it by itself.
{
  'targets': [
    {
      'target_name': 'hypura',
      'type': 'none',
      'actions': [
        {
          'action_name': 'cmake',
          'inputs': ['CMakeLists.txt'],
          'outputs': ['build/cmake/Release/hypura.node'],
          'action': ['npx', '--no-install', 'cmake-js', 'compile', '--out', 'build/cmake'],
        },
      ],
    },
  ],
}
