vim9script

# Text to read: a window of its own, below, that `q` closes.

# Show Markdown under a title. The window that is there already is used again; the cursor stays.
export def Show(title: string, text: string)
  var window = Window(title)
  var lines = split(substitute(text, '\r', '', 'g'), "\n", true)
  Fill(winbufnr(window), lines)
  win_execute(window, $'resize {max([3, min([len(lines) + 1, &lines / 2])])} | normal! gg')
enddef

# Replace the text of such a buffer.
export def Fill(buffer: number, lines: list<string>)
  setbufvar(buffer, '&modifiable', true)
  silent deletebufline(buffer, 1, '$')
  setbufline(buffer, 1, lines)
  setbufvar(buffer, '&modifiable', false)
enddef

# A window for reading, with a new or used buffer of that title.
export def Window(title: string): number
  var name = 'ingle://' .. title
  for window in getwininfo()
    if getbufvar(window.bufnr, 'ingle_reading', false) && window.tabnr == tabpagenr()
      win_execute(window.winid, 'noautocmd setlocal modifiable | silent! keepalt file '
        .. fnameescape(name))
      return window.winid
    endif
  endfor
  var back = win_getid()
  execute 'keepalt botright new'
  setlocal buftype=nofile bufhidden=wipe noswapfile nobuflisted nolist nonumber norelativenumber
  setlocal wrap linebreak nospell foldcolumn=0 signcolumn=no winfixheight
  b:ingle_reading = true
  execute 'silent! keepalt file ' .. fnameescape(name)
  setlocal filetype=ingle syntax=markdown
  nnoremap <buffer> <nowait> <silent> q <Cmd>close<CR>
  var window = win_getid()
  win_gotoid(back)
  return window
enddef
