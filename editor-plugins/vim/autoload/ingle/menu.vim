vim9script

# Lets the user choose one of several things, in a popup: j and k, <Enter>, or its number.

# Choose one of `items`. `Shown` gives an item's line; `Take` gets the item that was chosen.
export def Choose(title: string, items: list<any>, Shown: func, Take: func)
  var lines = items->mapnew((number, item) =>
    (number < 9 ? $'{number + 1} ' : '  ') .. substitute(Shown(item), '\_s\+', ' ', 'g'))
  popup_menu(lines, {
    title: $' {title} ',
    padding: [0, 1, 0, 1],
    maxwidth: max([20, &columns - 8]),
    maxheight: max([3, &lines - 6]),
    filter: (popup, key) => OnKey(popup, key, len(items)),
    callback: (_, chosen) => {
      if chosen > 0
        Take(items[chosen - 1])
      endif
    },
  })
enddef

def OnKey(popup: number, key: string, count: number): bool
  if key =~ '^[1-9]$' && str2nr(key) <= min([count, 9])
    popup_close(popup, str2nr(key))
    return true
  endif
  return popup_filter_menu(popup, key)
enddef
