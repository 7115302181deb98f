vim9script

# Options: g:ingle, read when they are needed, so that a change applies at once.
#
# Owns the plugin's own options and their defaults. `settings` go to the language server as they
# are, which checks them itself (the table is in lsp/README.md).

const DEFAULTS: dict<any> = {
  # How the language server is started.
  cmd: ['ingle-lsp'],
  # Whether suggestions come while typing; `keys.suggest` asks for them in any case.
  automatic: true,
  # In Insert mode; all but `suggest` are mapped only while ghost text is shown. Empty: no key.
  keys: {
    accept: '<Tab>',
    accept_word: '<C-Right>',
    accept_line: '<C-End>',
    next: '<C-Down>',
    previous: '<C-Up>',
    dismiss: '<C-]>',
    suggest: '<C-x><C-g>',
  },
  # What makes the chat's window: modifiers of `:split`.
  chat_window: 'botright vertical',
  # Whether the chat shows what the model thinks before it answers.
  show_analysis: false,
  # The language server's settings.
  settings: {},
}

# What an option takes, in words.
const TAKES: dict<string> = {
  cmd: 'a list of words, like ["ingle-lsp"]',
  automatic: 'v:true or v:false',
  keys: 'a dictionary',
  chat_window: 'modifiers of :split, like "botright vertical"',
  show_analysis: 'v:true or v:false',
  settings: 'a dictionary',
}

# Settings of the server that are switches; in Vim, 0 and 1 are such, too.
const SWITCHES: list<string> = ['enabled', 'startDaemon', 'inComments', 'inStrings']

def Given(): dict<any>
  var given: any = get(g:, 'ingle', {})
  return type(given) == v:t_dict ? given : {}
enddef

def IsSwitch(value: any): bool
  return type(value) == v:t_bool || value is 0 || value is 1
enddef

def IsFit(name: string, value: any): bool
  if name == 'cmd'
    return type(value) == v:t_list && !empty(value)
      && value->copy()->filter((_, word) => type(word) != v:t_string)->empty()
      && value[0] != ''
  endif
  var default = DEFAULTS[name]
  return type(default) == v:t_bool ? IsSwitch(value) : type(value) == type(default)
enddef

# An option's value; the default where there is none or a wrong one.
export def Option(name: string): any
  var default = DEFAULTS[name]
  var value: any = get(Given(), name, default)
  if !IsFit(name, value)
    return default
  endif
  return type(default) == v:t_bool ? !!value : value
enddef

# Names of the keys.
export def KeyNames(): list<string>
  return DEFAULTS.keys->keys()->sort()
enddef

# A key by its name; empty for none.
export def Key(name: string): string
  var value: any = get(Option('keys'), name, DEFAULTS.keys[name])
  if !IsKey(value)
    return DEFAULTS.keys[name]
  endif
  return type(value) == v:t_string ? value : ''
enddef

def IsKey(value: any): bool
  return type(value) == v:t_string || (IsSwitch(value) && !value)
enddef

# Whether the user chose a key; the defaults give way to mappings that are there already.
export def IsChosen(name: string): bool
  var given: any = get(Given(), 'keys', {})
  return type(given) == v:t_dict && has_key(given, name)
enddef

# The language server's settings, as JSON has them.
export def ServerSettings(): dict<any>
  var settings = deepcopy(Option('settings'))
  for name in SWITCHES
    if get(settings, name, '') is 0 || get(settings, name, '') is 1
      settings[name] = settings[name] == 1
    endif
  endfor
  return settings
enddef

# Set one of the language server's settings, for this session.
export def SetServerSetting(name: string, value: any)
  g:ingle = Given()
  if type(get(g:ingle, 'settings', '')) != v:t_dict
    g:ingle.settings = {}
  endif
  g:ingle.settings[name] = value
enddef

# What is wrong with g:ingle, a line each.
export def Problems(): list<string>
  var given: any = get(g:, 'ingle', {})
  if type(given) != v:t_dict
    return ['g:ingle must be a dictionary: see :help ingle-options']
  endif
  var problems: list<string> = []
  for [name, value] in items(given)
    if !has_key(DEFAULTS, name)
      add(problems, $'there is no option {name}: see :help ingle-options')
    elseif !IsFit(name, value)
      add(problems, $'g:ingle.{name} must be {TAKES[name]}')
    endif
  endfor
  for [name, value] in items(Option('keys'))
    if !has_key(DEFAULTS.keys, name)
      add(problems, $'there is no key {name}: see :help ingle-keys')
    elseif !IsKey(value)
      add(problems, $'g:ingle.keys.{name} must be a key, or empty for none')
    endif
  endfor
  return sort(problems)
enddef
