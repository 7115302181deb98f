vim9script

# The daemon, its models, effort and pauses: what the menu does.

import autoload './chat.vim'
import autoload './client.vim'
import autoload './config.vim'
import autoload './menu.vim'
import autoload './notify.vim'
import autoload './status.vim'
import autoload './suggest.vim'
import autoload './tasks.vim'

export const EFFORTS: list<string> = ['low', 'medium', 'high']

# Names of models, as the daemon last gave them.
var model_names: list<string> = []

# Start the daemon.
export def Start()
  tasks.Run('starting the daemon', 'ingle.startDaemon', null, (_) => notify.Info('the daemon runs'))
enddef

export def Load(name: string)
  tasks.Run($'loading {name}', 'ingle.loadModel', {model: name},
    (_) => notify.Info($'{name} is loaded'))
enddef

# Unload a model, or all.
export def Unload(name: string)
  var what = name == '' ? 'the model' : name
  tasks.Run($'unloading {what}', 'ingle.unloadModel', name == '' ? null : {model: name},
    (_) => notify.Info($'{what} is unloaded'))
enddef

def WithModels(Use: func)
  client.Command('ingle.models', null, (error, models) => {
    if error != ''
      notify.Warn(error)
    else
      model_names = mapnew(models, (_, model) => model.name)
      Use(models)
    endif
  })
enddef

def Described(model: dict<any>): string
  var state = model.resident ? 'loaded' : model.installed ? 'installed' : 'not installed'
  return $'{model.name}: {state}'
enddef

# Choose a model to load or to unload.
export def Models()
  WithModels((models) => {
    if empty(models)
      notify.Info('there are no models: `ingle pull` downloads one')
      return
    endif
    menu.Choose('Load or unload a model', models, (model) => Described(model), (model) => {
      if model.resident
        Unload(model.name)
      elseif model.installed
        Load(model.name)
      else
        notify.Info($'`ingle pull {model.name}` installs it')
      endif
    })
  })
enddef

# The models' names; fetched for the next time, so that completion never waits.
export def ModelNames(): list<string>
  if client.IsReady()
    client.Command('ingle.models', null, (error, models) => {
      if error == ''
        model_names = mapnew(models, (_, model) => model.name)
      endif
    })
  endif
  return model_names
enddef

# How long the model thinks, in chats and changes; asked for if empty.
export def Effort(effort: string)
  if effort == ''
    menu.Choose('How long the model thinks', EFFORTS, (item) => item, (item) => Effort(item))
    return
  endif
  config.SetServerSetting('effort', effort)
  client.SendSettings()
  notify.Info($'effort is {effort}')
  redrawstatus!
enddef

# No suggestions for some minutes, or until `Resume` if 0.
export def Pause(minutes: float)
  client.Command('ingle.pause', minutes > 0 ? {minutes: minutes} : null, (error, _) => {
    if error != ''
      notify.Warn(error)
    else
      suggest.Forget()
      var time = minutes > 0 ? printf('for %g minutes', minutes) : 'until `:Ingle resume`'
      notify.Info($'no suggestions {time}')
    endif
  })
enddef

export def Resume()
  client.Command('ingle.resume', null, (error, _) => {
    if error != ''
      notify.Warn(error)
    else
      notify.Info('suggestions are on again')
    endif
  })
enddef

# Say what the daemon does.
export def Status()
  client.Command('ingle.status', null, (error, result) => {
    if error != ''
      notify.Warn(error)
    else
      status.Set(result)
      var detail = get(result, 'detail', '')
      notify.Info(result.text .. (detail == '' ? '' : ': ' .. detail))
    endif
  })
enddef

# Cancel the chat's answer and whatever else is running.
export def Cancel()
  var count = tasks.CancelAll() + (chat.Cancel() ? 1 : 0)
  notify.Info(count > 0 ? 'cancelled' : 'nothing is running')
enddef

# Everything that makes sense now.
export def Menu()
  var now = status.Current()
  var state = get(now, 'state', '')
  var entries: list<dict<any>> = []
  if state == 'down'
    add(entries, {text: 'Start the daemon', Run: Start})
  elseif state == 'gone'
    add(entries, {text: 'Restart the language server', Run: client.Restart})
  else
    add(entries, {text: 'Load or unload a model', Run: Models})
  endif
  if !get(now, 'enabled', true) && state != 'gone'
    add(entries, {text: 'Resume suggestions', Run: Resume})
  else
    add(entries, {text: 'Pause suggestions for 30 minutes', Run: () => Pause(30.0)})
  endif
  extend(entries, [
    {text: 'Set how long the model thinks', Run: () => Effort('')},
    {text: 'Chat', Run: chat.Open},
    {text: 'Open a chat thread', Run: chat.ChooseThread},
  ])
  var text = status.Line()
  menu.Choose(text == '' ? 'ingle' : $'ingle: {text}', entries,
    (entry) => entry.text, (entry) => call(entry.Run, []))
enddef
