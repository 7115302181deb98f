vim9script

# What the language server last said of the daemon and its model, and the line for a status line.

var current: dict<any> = {}

def Changed()
  redrawstatus
  if exists('#User#IngleStatus')
    doautocmd <nomodeline> User IngleStatus
  endif
enddef

# Take an `ingle/status`.
export def Set(status: dict<any>)
  current = status
  Changed()
enddef

# There is no language server; the text says why.
export def Gone(text: string)
  current = {state: 'gone', text: text, enabled: false}
  Changed()
enddef

# The latest status; empty before there was any.
export def Current(): dict<any>
  return current
enddef

# A line for a status line, like "gpt-oss-20b, 41 tokens/s"; empty while there is nothing to say.
export def Line(): string
  var text: any = get(current, 'text', '')
  return type(text) == v:t_string ? text : ''
enddef
